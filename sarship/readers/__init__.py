"""One reader per source of chips: what is in it, in parts that any process can read, each part a generator of chips.

A reader lists the parts of a `Source` (sarship/archives.py) in an order that depends on the names in the source
only. A part gives one item for every chip in it: the `Chip`, or why there is none. It never stops at a bad chip, and
raises UserError where the source as a whole can't be read. Which class a chip belongs to, duplicates, names that come
twice and splits are not its business.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from sarship.archives import Entry, Source
from sarship.chip import Chip
from sarship.command import UserError, log

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


# Room for "-2" and ".png" within the 255 bytes that file systems hold.
LONGEST_NAME = 200
_DEVICE = re.compile("con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)


class UniqueNames:
    """Chip names: safe as file names, and never the same one twice, as little as "a" and "A".

    A prepared folder can so be copied to a file system that takes the two for one (macOS, Windows).
    """

    def __init__(self):
        self._seen = Counter()

    def claim(self, name: str) -> str:
        """`name`; when it comes for the nth time, with "-n" behind it."""
        unique = safe_name(name)
        while (count := self._counted(unique)) > 1:
            unique = f"{unique}-{count}"
        return unique

    def _counted(self, name: str) -> int:
        self._seen[name.lower()] += 1
        return self._seen[name.lower()]


def safe_name(name: str) -> str:
    """`name` with "_" for whatever may not do in a file name, and cut to LONGEST_NAME.

    "_" too for a "-" that it begins with: options begin so, and formulas in the spreadsheet that opens a table of
    names. One behind names that Windows keeps for devices.
    """
    safe = re.sub("^-|[^A-Za-z0-9_-]", "_", name)[:LONGEST_NAME]
    return f"{safe}_" if not safe or _DEVICE.fullmatch(safe) else safe


def check_classes(source: str, classes: Iterable[str]) -> None:
    """Raises UserError if two classes of a source would be one, as their folders in prepared/ would have one name."""
    first: dict[str, str] = {}
    for name in classes:
        other = first.setdefault(safe_name(name).lower(), name)
        if other != name:
            raise UserError(f"{source}: its classes {other!r} and {name!r} are too much alike; rename one of them")


MAX_TABLE_BYTES = 1 << 24  # the largest real one, meta.csv, has 1.3 MB


def read_table(source: Source, entry: Entry) -> str:
    """The text of a small file that says something of chips. Raises UserError if it is too large to be one."""
    if entry.size > MAX_TABLE_BYTES:
        raise UserError(f"{source.name}/{entry.name}: has {entry.size:,} bytes, too many for a table; get it again")
    return source.read(entry).decode("utf-8-sig", errors="replace")


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
