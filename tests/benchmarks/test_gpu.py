"""gpu.py runs on the CPU at a small size, and its figures are those of what ran."""

import re

import drawn_chips
import gpu
import pandas as pd
import pytest
import torch
from PIL import Image
from side_by_side import read_section, write_section

from sarship.prepared import chip_path
from tests.benchmarks.tables import rows_of


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn")
    drawn_chips.draw_prepared(out, drawn_chips.split_counts(40), 32, gpu.DATASETS)
    return out


def test_drawn_chips_are_as_many_as_asked_for_and_of_every_class(drawn):
    assert gpu.chip_counts(drawn)["Fusar"] == {"train": 28, "val": 4, "test": 8}
    assert gpu.chip_counts(drawn)["Mixed"] == {"train": 56, "val": 8, "test": 16}
    for name in gpu.DATASETS:
        manifest = pd.read_csv(drawn / "prepared" / name / "manifest.csv")
        assert (pd.crosstab(manifest["split"], manifest["class"]) > 0).all(axis=None)
        for row in manifest.to_dict("records"):
            with Image.open(chip_path(drawn / "prepared" / name, row)) as image:
                assert (image.size, image.mode) == ((32, 32), "L")


def test_the_real_size_is_that_of_fusar():
    assert sum(drawn_chips.split_counts(gpu.REAL_CHIPS).values()) == gpu.REAL_CHIPS == 3151
    assert drawn_chips.split_counts(1) == {"train": 3, "val": 3, "test": 3}


def test_further_epochs_take_as_long_as_the_later_ones():
    runs = pd.DataFrame({"Epochs": [2, 2], "EpochSeconds": [3.0, 5.0]})
    assert gpu.with_epochs(40.0, runs, 10) == 40 + 8 * 3 + 8 * 5
    assert gpu.with_epochs(40.0, runs, 2) == 40


def test_operations_and_seconds_make_the_share():
    """VGG16's layers at 224 x 224: 15.35 G multiply-adds, twice as many on the way back, but none to the pixels.

    Computing maps again to save memory, as a network may do in training, is no work done.
    """
    chosen = gpu.options(["--device", "cpu", "--epochs", "2"])
    own = pd.DataFrame({"model": ["VGG", "CNN"], "trained": ["Fusar", "Fusar"], "seconds": [10.0, 1.0]})
    counts = {"Fusar": {"train": 10, "val": 5, "test": 100}}
    shares = gpu.shares_of_peak(own, counts, chosen, peak=1e12)
    assert shares["Trained"].tolist() == ["Fusar", "all"]
    first, forward = 224 * 224 * 64 * 27, 15.347e9  # of its first convolution, and of all 13
    expected = 2 * (10 * (3 * forward - first) + 5 * forward) * 2
    assert shares["Flop"].to_numpy() == pytest.approx(expected, rel=1e-3)
    assert shares["Share"].to_numpy() == pytest.approx(expected / 10 / 1e12, rel=1e-3)


@pytest.mark.parametrize(("seconds", "verdicts"), [(179.0, ["yes", "yes", "no"]), (181.0, ["no", "no", "no"])])
def test_goals_are_judged(seconds, verdicts):
    figures = ("seconds of the grid", "times faster than the reference loop", "share of the peak in VGG16 training")
    for has_goals, expected in ((True, verdicts), (False, ["", "", ""])):
        rows = rows_of(gpu.goals_table(seconds, 3600.0, 0.39, has_goals))
        assert [rows[figure][2] for figure in figures] == expected


def test_goals_are_meant_for_the_whole_grid_on_cuda():
    assert gpu.are_goals_meant(gpu.options([]))
    for smaller in (["--device", "cpu"], ["--chips", "24"], ["--models", "VGG"], ["--epochs", "1"]):
        assert not gpu.are_goals_meant(gpu.options(smaller))


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without CUDA")
def test_without_cuda_the_readme_says_that_nothing_is_measured(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- gpu.py -->\n<!-- /gpu.py -->\n")
    monkeypatch.setattr(gpu, "read_section", lambda name: read_section(name, readme))
    monkeypatch.setattr(gpu, "write_section", lambda name, text: write_section(name, text, readme))
    with pytest.raises(SystemExit, match="no CUDA"):
        gpu.main([])
    gpu.main(["--write"])
    gpu.main(["--write"])
    assert readme.read_text() == f"<!-- gpu.py -->\n{gpu.NOT_MEASURED}\n<!-- /gpu.py -->\n"
    write_section("gpu.py", "figures", readme)
    with pytest.raises(SystemExit, match="they stay"):
        gpu.main(["--write"])
    assert read_section("gpu.py", readme) == "figures"


def test_a_small_run_does_not_pass_for_the_real_one(capsys):
    with pytest.raises(SystemExit):
        gpu.options(["--write", "--chips", "24"])
    assert "real size" in capsys.readouterr().err


def test_it_runs_and_reports_what_ran(tmp_path, capsys, monkeypatch):
    measured, measure = [], gpu.measure
    monkeypatch.setattr(gpu, "measure", lambda command: measured.append(measure(command)) or measured[-1])
    monkeypatch.setattr(gpu, "peak_rate", lambda device, dtype: 2e12)  # what it measures is tested where it is
    small = ["--device", "cpu", "--chips", "24", "--size", "32", "--models", "VGG", "--backbone", "random"]
    gpu.main([*small, "--epochs", "1", "--reference-epochs", "1", "--workdir", str(tmp_path / "work")])
    text = capsys.readouterr().out
    rows = rows_of(text)
    reference, own, *_ = measured
    assert rows["seconds of the grid"][0] == f"{own.seconds:.1f}"
    assert rows["times faster than the reference loop"][0] == f"{reference.seconds / own.seconds:.2f}"
    reference_runs = pd.read_csv(tmp_path / "work" / "reference.csv").drop_duplicates("Trained")
    assert rows["VGG"][:2] == [f"{reference_runs[part].sum():.2f}" for part in ("EpochSeconds", "TestSeconds")]
    assert "3 runs of 1 epochs, 32 x 32 pixels" in text and "reaches 2.0 TFLOP/s" in text
    assert set(gpu.DATASETS) | {"all"} <= rows.keys()
    same_weights, trained = re.search(r"\| VGG \| (\S+e-\d+) \| (\S+e[-+]\d+) \|", text).groups()
    assert 0 < float(same_weights) < 1e-4 and float(trained) < 1e-4
