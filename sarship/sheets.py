"""The images of one network on one test set, drawn by processes of their own while the next network is explained.

What `multiprocessing` starts imports the script that started it, and with it PyTorch: four seconds and 300 MB for each
process; and to fork one that has computed with PyTorch is unsafe, because its threads are not there in the copy. So
drawing processes are started as commands (`python -m sarship.sheets`), import what drawing needs and no more, read
sheets from their standard input and answer each with a line. They end when their input does, whatever becomes of the
process that started them, but not in the middle of a sheet.

PyTorch's threads wait for each other, busily: a drawing process on the core of one of them makes networks half as fast.
So drawing takes the lowest priority, and has the cores while networks are read and when it is waited for.
"""

import os
import pickle
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from PIL import Image

from sarship.command import UserError
from sarship.figures import SheetItem, contact_sheet, overlay
from sarship.files import whole_folder
from sarship.pool import available_cores

ROOT = Path(__file__).resolve().parent.parent  # where `sarship` is imported from
MOST_DRAWERS = 6  # a sheet takes 0.8 s to draw, and a network, three sheets each, 0.4 s to read
LOWEST_PRIORITY = 19  # on Linux


@dataclass(frozen=True, eq=False)
class Sheet:
    """All that is drawn into one folder: chip by chip, in the order of the contact sheet.

    chips: (chips, rows, cols[, 3]) uint8; heat: (chips, rows, cols) 0..1; outlines: (chips, rows, cols) bool.
    labels, predictions: class names; probabilities: 0..1, of the predictions; constant: heatmaps with nothing to see.
    """

    folder: Path
    title: str
    chips: np.ndarray
    heat: np.ndarray
    outlines: np.ndarray
    labels: list[str]
    predictions: list[str]
    probabilities: list[float]
    constant: list[bool]


def draw_sheet(sheet: Sheet) -> None:
    """Write the sheet's folder, which is whole or absent: chips, heatmaps over them, contact_sheet.png.

    Raises UserError if the folder cannot be written.
    """
    overlays = [overlay(chip, heat) for chip, heat in zip(sheet.chips, sheet.heat, strict=True)]
    columns = (sheet.outlines, sheet.labels, sheet.predictions, sheet.probabilities, sheet.constant)
    items = [SheetItem(*row) for row in zip(sheet.chips, overlays, *columns, strict=True)]
    with whole_folder(sheet.folder) as folder:
        _write_images(items, folder)
        contact_sheet(items, folder / "contact_sheet.png", sheet.title)


def _write_images(items: list[SheetItem], folder: Path) -> None:
    written: dict[str, int] = {}
    for item in items:
        number = written[item.label] = written.get(item.label, 0) + 1
        Image.fromarray(item.chip).save(folder / f"{item.label}_o{number}.png")
        Image.fromarray(item.overlay).save(folder / f"{item.label}_hm{number}.png")


def drawers_for(sheets: int) -> int:
    """How many drawing processes pay for so many sheets."""
    return min(available_cores(), MOST_DRAWERS, sheets)


class Drawers:
    """Processes that draw sheets; each holds one at a time, so memory does not grow with the number of sheets.

    A context manager: all sheets are drawn when its block ends. If the block fails, those that were begun are finished,
    and no others. Raises UserError of a sheet that could not be written, with a later sheet or at the end of the block.
    """

    def __init__(self, count: int):
        self._drawers = deque(_Drawer() for _ in range(count))

    def __enter__(self) -> "Drawers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        try:
            if kind is None:
                for drawer in self._drawers:
                    drawer.wait()
        finally:
            for drawer in self._drawers:
                drawer.end()

    def draw(self, sheet: Sheet) -> None:
        """Give the sheet to the process that has been drawing longest, when it is done with what it has."""
        drawer = self._drawers[0]
        self._drawers.rotate(-1)
        drawer.wait()
        drawer.begin(sheet)


class _Drawer:
    """One drawing process, and the folder it is at work on."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sarship.sheets"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            # Ctrl-C is for the command alone, which then ends its drawing processes. Not a session of their own: Linux
            # compares priorities within a session only.
            process_group=0,
        )
        self._folder: Path | None = None

    def begin(self, sheet: Sheet) -> None:
        self._folder = sheet.folder
        try:
            pickle.dump(sheet, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
        except BrokenPipeError:
            self.wait()

    def wait(self) -> None:
        """Until the sheet at work is drawn, if there is one."""
        if self._folder is None:
            return
        answer = self._process.stdout.readline().decode()
        folder, self._folder = self._folder, None
        if not answer:
            status = self._process.wait()
            raise UserError(f"{folder}: its drawing process ended with status {status}; free memory and run again")
        if answer.strip():
            raise UserError(answer.strip())

    def end(self) -> None:
        with suppress(BrokenPipeError):  # it ended before it had read everything, and `wait` has said so
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _serve() -> None:
    """Draw what comes on standard input, and answer each sheet with a line: empty, or what is wrong."""
    os.nice(LOWEST_PRIORITY)
    while True:
        try:
            sheet = pickle.load(sys.stdin.buffer)
        except (EOFError, pickle.UnpicklingError):
            return  # no more sheets, or whoever wrote the last one was killed meanwhile
        try:
            draw_sheet(sheet)
            answer = ""
        except UserError as error:
            answer = " ".join(str(error).split())
        try:
            os.write(sys.stdout.fileno(), f"{answer}\n".encode())
        except BrokenPipeError:
            return  # nobody waits for it any more


if __name__ == "__main__":
    _serve()
