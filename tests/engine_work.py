"""What the workers of test_engines.py do; in a file of its own, as they import it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from sarship.command import DiskError
from sarship.engines import Message


@dataclass(frozen=True)
class Order:
    """does: "fail", "raise", "die" (every time), "die once", "wait", or anything else, which is done at once."""

    stem: str
    does: str
    folder: Path


def work(order: Order, hear) -> str | None:
    hear(Message(order.stem, "begun"))
    hear(Message(order.stem, "epoch", {"epoch": 1}))
    if order.does == "fail":
        return "it failed"
    if order.does == "raise":
        raise DiskError("the disk is full")
    if order.does.startswith("die"):
        with (order.folder / order.stem).open("a") as file:
            file.write("x")
        if order.does == "die" or (order.folder / order.stem).stat().st_size == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    while order.does == "wait":
        (order.folder / f"{order.stem} {os.getpid()}").touch()
        hear(Message(order.stem, "epoch", {"epoch": 2}))
        time.sleep(0.05)
    return None
