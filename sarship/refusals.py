"""What is refused in archives, and the one line that says why."""

import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import rarfile

from sarship.command import UserError
from sarship.zip_members import Unfit

# What the libraries raise on bytes that no packer wrote (tests/test_archives_any_bytes.py flips and cuts bytes).
_DAMAGE = (zipfile.BadZipFile, zlib.error, rarfile.Error, tarfile.TarError, lzma.LZMAError, struct.error)
_DAMAGE += (ValueError, LookupError, EOFError, NotImplementedError, ArithmeticError, MemoryError)


@dataclass
class Budget:
    """The bytes that an archive and all archives inside it declare, against what the user allows."""

    max_bytes: int
    declared: dict[str, int] = field(default_factory=dict)

    def declare(self, archive: str, size: int) -> None:
        self.declared[archive] = size  # by name: an archive that is opened again is not counted again
        total = sum(self.declared.values())
        if total > self.max_bytes:
            raise over_budget(archive, f"{total:,}")


# Of a file or a folder: what NTFS and APFS can hold, in characters, and ext4 in bytes. Of all together: what Linux can.
_LONGEST_PART, _LONGEST_NAME = 255, 4096
_SHOWN = 300  # characters of a name in a message
# No file name has them: control characters, and half a surrogate pair.
_IMPROPER = re.compile("[\x00-\x1f\ud800-\udfff]")


def refusal(archive: str, entry: str, reason: str) -> UserError:
    """An entry that is refused, and with it the archive."""
    shown = entry if len(entry) <= _SHOWN else f"{entry[:_SHOWN]}..."
    return UserError(f"{archive}: {shown if shown.isprintable() and shown else repr(shown)}: {reason}")


def damaged(where: str, why: str) -> UserError:
    """An archive, or an entry of one, whose bytes make no sense."""
    return UserError(f"{where}: is truncated or damaged ({why}); get it again")


def over_budget(archive: str, size: str) -> UserError:
    """An archive that unpacks to more than the user allows; size: to how much."""
    return UserError(f"{archive}: would unpack to {size} bytes; if you trust it, raise --max-bytes")


def safe_name(archive: str, raw_name: str) -> str:
    """`raw_name` with "/" between folders. Raises UserError if it leads out of the archive, or is no file name."""
    name = raw_name.replace("\\", "/")  # some Windows packers write it against the zip standard
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in name.split("/"):
        raise refusal(archive, raw_name, "climbs out of its folder; don't trust this archive")
    if not name or _IMPROPER.search(name):
        raise refusal(archive, raw_name, "is no proper file name; rename it")
    if len(name) > _LONGEST_NAME or max(map(len, name.split("/"))) > _LONGEST_PART:
        raise refusal(archive, raw_name, "is longer than a file name can be; rename it")
    return name


def is_litter(name: str) -> bool:
    """Whether macOS or Windows left an entry behind that the user knows nothing of."""
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1] in (".DS_Store", "Thumbs.db") or parts[-1].startswith("._")


@contextmanager
def one_line(archive: str, entry: str = "") -> Iterator[None]:
    """Whatever zip_members and its like, and the libraries below them, raise as one line of UserError."""
    where = f"{archive}: {entry}" if entry else archive
    try:
        yield
    except Unfit as error:
        *member, reason = error.args
        raise refusal(archive, *member, reason) if member else UserError(f"{archive}: {reason}") from error
    except rarfile.RarCannotExec as error:
        raise UserError(
            f"{archive}: no extractor for rar here; install unar (apt-get install unar), unrar, 7z or bsdtar"
        ) from error
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror or error})") from error
    except _DAMAGE as error:
        raise damaged(where, str(error) or type(error).__name__) from error
