"""One training over several processes is that of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from models import MODELS, build
from sarship.distributed import share_of
from tests import small

ROOT = Path(__file__).resolve().parent.parent
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
# (processes, chips, loss, networks). Batches have 8 chips: of 23, the last has 7, dealt 3 and 4; of 18, it has 2, and
# the first of three processes none. CNN has dropout and recomputed layers, EfficientNet stochastic depth, Fine_ResNet a
# frozen backbone, whose features each process computes for its share of the chips.
CASES = [
    (2, 23, "weighted_cross_entropy", ("CNN", "EfficientNet", "Fine_ResNet")),
    (2, 20, "ldam_drw", ("CNN",)),
    (3, 18, "improved_cross_entropy", ("CNN", "ConvNeXt")),
]


def run(words: list[str | Path]) -> subprocess.CompletedProcess:
    return subprocess.run(list(map(str, words)), cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True, timeout=600)


def decided(processes: int, result: Path, chips: int, loss: str, names: tuple[str, ...]) -> dict:
    start = [sys.executable] if processes == 1 else [*TORCHRUN, "--nproc-per-node", str(processes)]
    done = run([*start, ROOT / "tests" / "over_processes.py", result, str(chips), loss, *names])
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(result)


@pytest.mark.parametrize(("processes", "chips", "loss", "names"), CASES, ids=lambda value: str(value))
def test_weights_and_answers_are_those_of_one_process(processes, chips, loss, names, tmp_path):
    alone = decided(1, tmp_path / "1.pt", chips, loss, names)
    together = decided(processes, tmp_path / "n.pt", chips, loss, names)
    torch.testing.assert_close(together["augmented"], alone["augmented"], rtol=1e-5, atol=1e-6)
    for name in names:
        assert alone[name].keys() == together[name].keys()
        for key, value in alone[name].items():
            torch.testing.assert_close(together[name][key], value, rtol=1e-6, atol=1e-7)


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Path, Path]:
    """The command on the same chips in one process, and in two."""
    outs = []
    for processes in (1, 2):
        out = small.make_prepared(tmp_path_factory.mktemp("out"), ("Fusar", "OpenSARShip", "Mixed"))
        start = [sys.executable] if processes == 1 else [*TORCHRUN, "--nproc-per-node", "2"]
        options = ["--models", "CNN", "--trained", "Fusar", "Fusar+Mixed", "--epochs", "2", "--batch-size", "16",
                   "--device", "cpu", "--no-timing", "--augment", "sar", "--sampler", "sqrt"]  # fmt: skip
        done = run([*start, ROOT / "test_models.py", *options, "--out", out])
        assert done.returncode == 0, done.stderr[-3000:]
        (out / "stdout").write_text(done.stdout)
        (out / "stderr").write_text(done.stderr)
        outs.append(out)
    return tuple(outs)


def test_the_command_gives_the_scores_of_one_process(both):
    one, two = (pd.read_csv(out / "scores.csv") for out in both)
    pd.testing.assert_frame_equal(one, two, rtol=1e-3, atol=0.02)  # percent, of two decimals
    ours, theirs = (pd.read_csv(out / "predictions.csv") for out in both)
    assert ours["chip"].tolist() == theirs["chip"].tolist()  # each test chip once, in the same order
    probabilities = [name for name in ours.columns if name.startswith("p_")]
    assert (ours[probabilities] - theirs[probabilities]).abs().max(axis=None) < 0.01


def test_only_the_first_process_writes_and_speaks(both):
    _, two = both
    files = [sorted(path.name for path in (out / "trained_models").iterdir()) for out in both]
    assert files[0] == files[1]
    assert not list(two.rglob(".unfinished*")) + list(two.rglob("*.partial.pt"))
    assert (two / "stdout").read_text().count("Scores:") == 1
    assert (two / "stderr").read_text().count("CNN trained on Fusar, augment-sar") == 1


def test_shares_cover_a_batch_once(monkeypatch):
    monkeypatch.setattr("sarship.distributed.processes", lambda: 4)
    for total in range(0, 12):
        covered = []
        for rank in range(4):
            monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
            share = share_of(total)
            covered += range(total)[share.rows]
            assert abs(len(range(total)[share.rows]) - total / 4) < 1
        assert covered == list(range(total))


@pytest.mark.parametrize("name", MODELS)
def test_no_layer_is_left_that_sees_only_a_share(name, monkeypatch):
    """Every layer that mixes the chips of a batch, or draws one number for each, is one that `synchronise` knows."""
    from sarship import synchronised

    monkeypatch.setattr(synchronised, "processes", lambda: 2)
    with torch.device("meta"):
        network = build(name, 3, 64)
    keys = network.state_dict().keys()
    synchronised.synchronise(network)  # raises for a normalisation that it does not know
    assert network.state_dict().keys() == keys
    drawing = [layer for layer in network.modules() if getattr(layer, "p", 0) and hasattr(layer, "p")]
    mixing = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    assert {type(layer).__module__ for layer in [*drawing, *mixing]} <= {"sarship.synchronised"}


@pytest.mark.parametrize("words", [["--jobs", "2"], ["--compile"]])
def test_what_does_not_go_with_torchrun_is_refused(words, tmp_path):
    done = run([*TORCHRUN, "--nproc-per-node", "2", ROOT / "test_models.py", *words, "--out", tmp_path])
    assert done.returncode != 0
    assert f"error: torchrun and {words[0]}: do not go together" in done.stderr
    assert 'test_models.py", line' not in done.stderr  # no traceback of ours
