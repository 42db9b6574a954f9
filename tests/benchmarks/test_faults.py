"""A few kills of the real commands, and that the benchmark sees it when a killed command does not recover."""

import os
import subprocess
import sys
from pathlib import Path

import faults
import pytest

BENCHMARK = Path(faults.__file__)


def test_a_few_kills_end_as_if_nobody_had(tmp_path):
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--kills", "6", "--seed", "3", "--folder", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| all | 6 | " in done.stdout and done.stdout.count("differs") == 0
    assert list(tmp_path.iterdir()) == []


def test_moments_are_the_same_for_the_same_seed_and_of_every_kind():
    kills = faults.draw(40, 1, 10.0, 500)
    assert kills == faults.draw(40, 1, 10.0, 500) != faults.draw(40, 2, 10.0, 500)
    assert {(kill.by_time, kill.with_workers) for kill in kills} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    assert all(0 <= kill.moment <= (10 if kill.by_time else 500) for kill in kills)


def write(out: Path, text: str, hidden: str = "") -> None:
    out.mkdir(exist_ok=True)
    (out / "scores.csv").write_text(text)
    if hidden:
        (out / hidden).touch()


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (lambda out: write(out, "other"), "scores.csv differs"),
        (lambda out: write(out, "right", ".unfinished-x"), ".unfinished-x differs"),
        (lambda out: write(out, "right", ".CNN.partial.pt"), ".CNN.partial.pt differs"),
        (lambda out: out.mkdir(), "scores.csv differs"),
        (lambda out: sys.exit(2), "ended with status 2"),
        (lambda out: os.write(2, b"Traceback (most recent call last)") and write(out, "right"), "a traceback"),
    ],
)
def test_what_is_not_as_it_should_be_is_seen(tmp_path, monkeypatch, fault, problem):
    write(tmp_path / "whole", "right")
    expected = faults.contents(tmp_path / "whole")
    monkeypatch.setattr(faults, "commands", lambda raw, out: write(out, "right"))
    kill = faults.Kill(0, True, 0.0, True)
    assert faults.carry_out(kill, tmp_path, expected, tmp_path / "well").problems == ()
    monkeypatch.setattr(faults, "commands", lambda raw, out: fault(out))
    assert problem in faults.carry_out(kill, tmp_path, expected, tmp_path / "badly").problems
