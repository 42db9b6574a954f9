"""Drawing processes draw what this one would, say what goes wrong, and leave no halves and no processes behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from sarship import sheets
from sarship.command import UserError
from sarship.sheets import MOST_DRAWERS, Drawers, Sheet, draw_sheet, drawers_for

ROOT = Path(__file__).resolve().parent.parent
SIDE = 32


def a_sheet(folder: Path, seed: int = 0, chips: int = 5) -> Sheet:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (chips, SIDE, SIDE)).astype(np.uint8)
    labels = [["Cargo", "Tanker"][index % 2] for index in range(chips)]
    outlines = np.zeros(pixels.shape, dtype=bool)
    outlines[:, 10:20, 12:18] = True
    heat = rng.random(pixels.shape, dtype=np.float32)
    return Sheet(folder, f"sheet {seed}", pixels, heat, outlines, labels, labels[::-1], [0.7] * chips, [False] * chips)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def drawing_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "sarship.sheets" in child.cmdline()]


@pytest.mark.parametrize("count", [1, 2])
def test_drawing_processes_draw_the_same_bytes(tmp_path, count):
    with Drawers(count) as drawers:
        assert len(drawing_processes()) == count
        for seed in range(3):
            draw_sheet(a_sheet(tmp_path / "here" / str(seed), seed))
            drawers.draw(a_sheet(tmp_path / "there" / str(seed), seed))
    here, there = contents(tmp_path / "here"), contents(tmp_path / "there")
    assert here == there and len(there) == 3 * (2 * 5 + 1)
    assert not drawing_processes()


def test_drawing_steps_back_for_networks(tmp_path):
    """Within one session, where priorities count, and out of reach of the terminal's Ctrl-C."""
    with Drawers(1) as drawers:
        drawers.draw(a_sheet(tmp_path / "sheet"))
        drawers._drawers[0].wait()
        (process,) = drawing_processes()
        assert process.nice() > psutil.Process().nice()
        assert os.getsid(process.pid) == os.getsid(0) and os.getpgid(process.pid) != os.getpgid(0)


def test_drawing_does_not_need_pytorch():
    code = "import sys, sarship.sheets; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


def test_a_sheet_that_cannot_be_written_is_named_with_a_later_one_or_at_the_end(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file: cannot write there") as at_the_end, Drawers(1) as drawers:
        drawers.draw(a_sheet(tmp_path / "file" / "sheet"))
    assert "\n" not in str(at_the_end.value)
    with pytest.raises(UserError, match=r"file: cannot write there"), Drawers(1) as drawers:
        drawers.draw(a_sheet(tmp_path / "file" / "sheet"))
        drawers.draw(a_sheet(tmp_path / "not begun"))
    assert not (tmp_path / "not begun").exists() and not drawing_processes()


def test_a_drawing_process_that_dies_is_said(tmp_path):
    with pytest.raises(UserError, match=r"second: its drawing process ended with status -9"), Drawers(1) as drawers:
        drawers.draw(a_sheet(tmp_path / "first"))
        drawers.draw(a_sheet(tmp_path / "second", chips=45))
        drawing_processes()[0].kill()
    assert contents(tmp_path / "first") and not (tmp_path / "second").exists()


def test_a_drawing_process_that_died_idle_is_said(tmp_path):
    with pytest.raises(UserError, match=r"sheet: its drawing process ended with status -9"), Drawers(1) as drawers:
        drawing_processes()[0].kill()
        drawers._drawers[0]._process.wait()
        drawers.draw(a_sheet(tmp_path / "sheet", chips=45))


def test_when_the_block_fails_what_was_begun_is_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt), Drawers(1) as drawers:
        drawers.draw(a_sheet(tmp_path / "begun"))
        raise KeyboardInterrupt
    assert len(contents(tmp_path / "begun")) == 11
    assert [path.name for path in tmp_path.iterdir()] == ["begun"] and not drawing_processes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_their_starter_is_killed_they_finish_their_sheet_and_end(tmp_path, number):
    code = (
        "import sys, time; from pathlib import Path; from sarship.sheets import Drawers\n"
        "from tests import test_sheets\n"
        "with Drawers(2) as drawers:\n"
        "    drawers.draw(test_sheets.a_sheet(Path(sys.argv[1]) / 'sheet', chips=20))\n"
        "    print([drawer._process.pid for drawer in drawers._drawers], flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE) as starter:
        drawing = [psutil.Process(int(word)) for word in starter.stdout.readline().decode().strip("[]\n").split(",")]
        os.kill(starter.pid, number)
    _, alive = psutil.wait_procs(drawing, timeout=20)
    assert not alive
    assert [path.name for path in tmp_path.iterdir()] == ["sheet"] and len(contents(tmp_path)) == 41


def test_sheets_wait_for_a_free_process(tmp_path, monkeypatch):
    """However many there are, no more sheets are on their way than there are processes."""
    under_way, most = 0, 0
    begin, wait = sheets._Drawer.begin, sheets._Drawer.wait

    def count_begin(drawer, sheet):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        begin(drawer, sheet)

    def count_wait(drawer):
        nonlocal under_way
        under_way -= drawer._folder is not None
        wait(drawer)

    monkeypatch.setattr(sheets._Drawer, "begin", count_begin)
    monkeypatch.setattr(sheets._Drawer, "wait", count_wait)
    with Drawers(2) as drawers:
        for seed in range(5):
            drawers.draw(a_sheet(tmp_path / str(seed), seed, chips=1))
    assert most == 2 and under_way == 0 and len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize(
    ("cores", "many_sheets", "count"), [(1, 9, 1), (2, 9, 2), (2, 1, 1), (64, 99, MOST_DRAWERS), (64, 3, 3)]
)
def test_there_are_as_many_as_cores_and_no_more_than_sheets(monkeypatch, cores, many_sheets, count):
    monkeypatch.setattr(sheets, "available_cores", lambda: cores)
    assert drawers_for(many_sheets) == count


def test_time_to_start_is_not_waited_for():
    started = time.monotonic()
    with Drawers(2):
        assert time.monotonic() - started < 0.5  # importing what it takes to draw is longer than that
