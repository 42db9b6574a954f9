"""The benchmark of engines: one way is really run; of the others, that the table says what was measured."""

from contextlib import contextmanager
from pathlib import Path

import pytest
import scale

from tests.benchmarks.tables import rows_of


def test_a_way_is_the_real_command(tmp_path):
    chosen = scale.options(["--runs", "2", "--chips", "30", "--side", "32"])
    out = scale.draw(chosen, tmp_path / "out")
    assert scale.study(chosen, out, range(1, 3), "--cpus-per-run", "1") > 0
    assert sorted(path.name for path in (out / "trained_models").glob("*.pt")) == ["CNN_Fusar.pt", "CNN_Fusar_seed2.pt"]


def test_what_an_engine_adds_is_over_the_runs_of_a_processor(monkeypatch, capsys):
    seconds = {
        "serial": 100.0,
        "threads": 80.0,
        "first": 40.0,
        "second": 50.0,
        "jobs": 60.0,
        "ray1": 104.0,
        "ray2": 70.0,
    }
    asked = []

    def study(chosen, out: Path, seeds: range, *words: str) -> float:
        asked.append((out.name, len(seeds), words))
        return seconds[out.name]

    @contextmanager
    def cluster(workers: int):
        yield f"{workers} workers"

    monkeypatch.setattr(scale, "study", study)
    monkeypatch.setattr(scale, "draw", lambda chosen, out: out)
    monkeypatch.setattr(scale, "cluster", cluster)
    scale.main(["--runs", "8"])
    rows = rows_of(capsys.readouterr().out)
    assert rows["two commands at once"][:2] == ["50.0", "576"]  # the later one; 8 runs
    assert rows["--jobs 2"][2:] == ["2.50", "4.2 %", "yes"]  # 10 s over 4 runs
    assert rows["--ray, 1 processor"][2:] == ["0.50", "0.8 %", "yes"]
    assert rows["--ray, 2 processors"][2:] == ["5.00", "8.3 %", "no"]
    assert ("ray2", 8, ("--ray", "2 workers", "--cpus-per-run", "1")) in asked
    assert {("first", 4, ("--cpus-per-run", "1")), ("second", 4, ("--cpus-per-run", "1"))} <= set(asked)


def test_an_odd_number_of_runs_cannot_be_halved(capsys):
    with pytest.raises(SystemExit):
        scale.options(["--runs", "3"])
