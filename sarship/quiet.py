"""A process that works for another one: no progress bars, and what it has to say goes elsewhere."""

from collections.abc import Callable
from functools import cache

from tqdm import tqdm

from sarship import command


def be_quiet(log_to: Callable[[str], None]) -> None:
    """From now on, show no bars, and give each line of the log to `log_to`."""
    command.log_to = log_to
    _show_no_bars()


@cache
def _show_no_bars() -> None:
    # Whoever makes a bar says itself whether it is shown, and knows nothing of other processes.
    make = tqdm.__init__
    tqdm.__init__ = lambda bar, *given, **named: make(bar, *given, **{**named, "disable": True})
