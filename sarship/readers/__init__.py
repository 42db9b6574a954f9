"""One reader per source of chips: what is in it, in parts that any process can read, each part a generator of chips.

A reader lists the parts of a `Source` (sarship/archives.py) in an order that depends on the names in the source
only. A part gives one item for every chip in it: the `Chip`, or why there is none. It never stops at a bad chip, and
raises UserError where the source as a whole can't be read. Which class a chip belongs to, duplicates, names that come
twice and splits are not its business.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from sarship.archives import Source
from sarship.chip import Chip
from sarship.command import log

# Why a reader gives no chip.
UNREADABLE = "unreadable"  # no bytes, no TIFF, or a TIFF of another type than the data set's
EMPTY = "empty"  # all pixels are equal
WRONG_PRODUCT = "wrong product"  # GRD where SLC was asked for, or the reverse
WRONG_POLARIZATION = "wrong polarization"
OTHER_CLASS = "other class"


@dataclass(frozen=True)
class Rejected:
    """A chip that is left out.

    source: where it lies; reason: one of those above; detail: more of it for people, "" if there is no more to say.
    """

    source: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Note:
    """A line of log, in its place among the chips."""

    text: str


# Something true if chips of (category, subcategory) are wanted; others are rejected before their pixels are decoded.
Wanted = Callable[[str, str], object]


def all_classes(category: str, subcategory: str) -> bool:
    """Every chip is wanted."""
    return True


class Part(Protocol):
    """Some chips of a source, which one process reads; it can be pickled."""

    source: Source

    def chips(self, tally: Counter[str]) -> Iterator[Chip | Rejected | Note]:
        """The chips, sorted by path; their names are not yet unique. `tally` counts what `Reader.finish` is to say."""


class Reader(Protocol):
    """How a data set is read."""

    def parts(self, source: Source) -> Iterator[Part]:
        """All parts of a source, sorted by path. Raises UserError if it holds nothing of the data set."""

    def finish(self, source: str, tally: Counter[str]) -> None:
        """What is to be said of a source when all its parts are read; raises UserError if they hold no chips."""


class UniqueNames:
    """Chip names: safe as file names, and never the same one twice."""

    def __init__(self):
        self._seen = Counter()

    def claim(self, name: str) -> str:
        """`name`; when it comes for the nth time, with "-n" behind it."""
        safe = safe_name(name)
        self._seen[safe] += 1
        if self._seen[safe] == 1:
            return safe
        return self.claim(f"{safe}-{self._seen[safe]}")


def safe_name(name: str) -> str:
    """`name` with "_" for whatever may not do in a file name."""
    return re.sub("[^A-Za-z0-9_-]", "_", name)


def read_whole(reader: Reader, source: Source, names: UniqueNames | None = None) -> Iterator[Chip | Rejected]:
    """Every chip of a source, read in this process; names are unique among all sources that are given `names`."""
    tally, names = Counter(), names or UniqueNames()
    for part in reader.parts(source):
        for item in part.chips(tally):
            if isinstance(item, Note):
                log(item.text)
            else:
                yield replace(item, name=names.claim(item.name)) if isinstance(item, Chip) else item
        source.declare(part.source.declared)
    reader.finish(source.name, tally)
