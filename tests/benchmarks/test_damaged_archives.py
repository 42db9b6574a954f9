"""benchmarks/damaged_archives.py: no case fails, the same seed gives the same cases, and a planted fault is found."""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import damaged_archives
import pytest
import watched
from watched import outcome, run_watched
from whole_archives import Whole

import dataset_prep
from sarship.command import UserError
from tests.official import zip_bytes

HEADER = "chip,split,class\n"
ROWS = HEADER + "a,train,x\nb,test,x\n"


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """Without the real ones: the same cases on every machine."""
    return damaged_archives.whole_archives(tmp_path_factory.mktemp("simulated"), real=Path("absent"))


def test_forty_cases(wholes, tmp_path):
    done = damaged_archives.run_cases([(3, number) for number in range(40)], wholes, tmp_path, dataset_prep.main)
    assert not [(each.case.number, each.came_to, each.wrong) for each in done if each.wrong]
    assert {"refused", "as undamaged"} <= {each.came_to for each in done}
    text = damaged_archives.report(done, "command")
    assert "40 cases, 0 of them failed" in text


def test_the_same_seed_gives_the_same_cases(wholes):
    first, again = ([damaged_archives.make_case(5, number, wholes) for number in range(20)] for _ in range(2))
    assert first == again
    assert len({case.data for case in first}) == 20
    assert all(case.data != case.whole.data for case in first if case.damage == "bits flipped")


def written(argv: list[str], manifest: str) -> None:
    folder = Path(argv[argv.index("--out") + 1]) / "prepared" / "Set"
    folder.mkdir(parents=True)
    (folder / "manifest.csv").write_text(manifest)
    print("Left out:\nnothing was left out\n")


def refuses(argv: list[str]) -> None:
    raise UserError("a.zip: is damaged")


def says_nothing_of_the_archive(argv: list[str]) -> None:
    raise UserError("something is wrong")


def shows_a_traceback(argv: list[str]) -> None:
    raise ZeroDivisionError


def writes_beside(argv: list[str]) -> None:
    Path("stray.txt").touch()
    refuses(argv)


def leaves_temporary_files(argv: list[str]) -> None:
    tempfile.mkstemp()
    refuses(argv)


def changes_the_archive(argv: list[str]) -> None:
    Path(argv[1]).write_bytes(b"")
    refuses(argv)


def leaves_a_half(argv: list[str]) -> None:
    written(argv, ROWS)
    refuses(argv)


def sleeps(argv: list[str]) -> None:
    time.sleep(30)


def takes_memory(argv: list[str]) -> None:
    bytearray(b"x") * 300_000_000
    refuses(argv)


def drops_a_chip(argv: list[str]) -> None:
    written(argv, HEADER + "a,train,x\n")


def changes_a_class(argv: list[str]) -> None:
    written(argv, ROWS.replace("b,test,x", "b,test,y"))


def ends_with_3(argv: list[str]) -> None:
    sys.exit(3)


def found(command, tmp_path, is_guarded: bool = True) -> str:
    whole = Whole("zip", "a.zip", zip_bytes({"a": b"a"}), "zip", "--fusar", ())
    runs = [
        run_watched(each, whole.arguments, whole.file_name, whole.data, tmp_path / "case", wall_seconds=3)
        for each in (lambda argv: written(argv, ROWS), command)
    ]
    return outcome(runs[1], runs[0], whole.file_name, is_guarded)[0]


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (refuses, "refused"),
        (says_nothing_of_the_archive, "message"),
        (shows_a_traceback, "traceback"),
        (writes_beside, "strays"),
        (leaves_temporary_files, "strays"),
        (changes_the_archive, "strays"),
        (leaves_a_half, "prepared"),
        (sleeps, "hang"),
        (drops_a_chip, "silent"),
        (changes_a_class, "silent"),
        (ends_with_3, "status"),
    ],
)
def test_planted_faults_are_found(tmp_path, command, fault):
    assert found(command, tmp_path) == fault


def test_memory_is_that_of_the_run_and_has_a_limit(tmp_path, monkeypatch):
    run = partial(run_watched, arguments=lambda path: [], file_name="a.zip", data=b"", folder=tmp_path / "case")
    more = run(takes_memory).peak_bytes - run(refuses).peak_bytes
    assert 250e6 < more < 350e6
    monkeypatch.setattr(watched, "MOST_BYTES", 1e6)
    assert found(refuses, tmp_path) == "memory"


def test_other_content_is_told_apart_where_no_sum_stands_against_it(tmp_path):
    assert found(changes_a_class, tmp_path, is_guarded=False) == "other content, no checksum"
