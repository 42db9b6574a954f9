"""Two commands on one --out folder: who writes a part of it waits for all others there, who only reads it for writers.

<out>/.<part>.lock is locked, not merely there: a lock goes with its holder, however that ends, and so a lock file that
a killed command left behind stands in nobody's way.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sarship.command import DiskError, log
from sarship.files import remove_leftovers, writable_folder

_HELD = (errno.EAGAIN, errno.EACCES)


@contextmanager
def locked(out: Path, part: str, shared: bool = False) -> Iterator[None]:
    """Hold a part of the folder `out`, say "prepared", to write there alone; shared: with others that only read it.

    Waits for who holds it, and says so. Whoever is alone removes what killed commands left in `out` and in the part.
    Raises UserError if `out` cannot be written. Where the file system knows no locks, a warning has to do.
    """
    is_new = not out.exists()
    path = writable_folder(out) / f".{part}.lock"
    handle = _acquire(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        if not shared:
            remove_leftovers(out)
            remove_leftovers(out / part)
        yield
    finally:
        _release(path, handle)
        if is_new and not any(out.iterdir()):
            out.rmdir()


def _acquire(path: Path, kind: int) -> int:
    """A handle that holds the lock."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise DiskError(
                f"{path}: cannot be written ({error.strerror}); choose another folder with --out"
            ) from error
        try:
            _lock(path, handle, kind)
        except BaseException:
            os.close(handle)
            raise
        if _is_still(path, handle):
            with suppress(OSError):  # on a full disk, whoever waits will not read whom it waits for
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()} {Path(sys.argv[0]).name}".encode(), 0)
            return handle
        os.close(handle)  # whoever held it has removed the file: others will lock a new one


def _lock(path: Path, handle: int, kind: int) -> None:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _HELD:
            log(f"warning: {path}: cannot be locked ({error.strerror}); start no other command on {path.parent} now")
            return
        holder = os.pread(handle, 100, 0).decode(errors="replace")
        log(f"{path.parent} is in use (process {holder or 'unknown'}): waiting until it is free")
        fcntl.flock(handle, kind)


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _release(path: Path, handle: int) -> None:
    """Let go; the last one takes the file away."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except OSError:
        pass  # another one reads there still
    finally:
        os.close(handle)
