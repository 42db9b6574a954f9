"""One reader per source of chips, each a generator of `Chip` and `Rejected`.

A reader takes a `Source` (sarship/archives.py) and gives, in an order that depends on the names in the
source only, one item for every chip in it: the `Chip`, or why there is none. It never stops at a bad
chip, and raises UserError where the source as a whole can't be read. Which class a chip belongs to,
duplicates and splits are not its business.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

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


# Whether chips of (category, subcategory) are wanted; those that are not are rejected before their pixels are decoded.
Wanted = Callable[[str, str], bool]


def all_classes(category: str, subcategory: str) -> bool:
    """Every chip is wanted."""
    return True


class UniqueNames:
    """Chip names: safe as file names, and never the same one twice."""

    def __init__(self):
        self._seen = Counter()

    def claim(self, name: str) -> str:
        """`name`; when it comes for the nth time, with "-n" behind it."""
        safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in name)
        self._seen[safe] += 1
        if self._seen[safe] == 1:
            return safe
        return self.claim(f"{safe}-{self._seen[safe]}")
