"""Outputs are whole or absent, whatever happens meanwhile: they are written beside their place, flushed to the disk and
renamed into it.

What is being written is named .unfinished-... and locked by its writer. A writer that is killed leaves it behind, and
the lock goes with it: `remove_leftovers` knows it by that.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sarship.command import DiskError, UserError

UNFINISHED = ".unfinished-"
# What a disk says that takes no more: full, over quota, a file too large for it, read-only, broken.
_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_ADVICE = "; mend that and start the same command again, it goes on from there"
_LITTLE_BYTES = 1 << 16
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD (fcntl.h) and RENAME_EXCHANGE (linux/fs.h)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes `path` in one step when the block ends, and is gone if it fails.

    Raises UserError if the folder of `path` cannot be written, and DiskError if the disk takes no more.
    """
    folder = writable_folder(path.parent)
    # The suffix stays last: pillow, matplotlib and rasterio choose a format by it.
    held, written = _held(path, lambda: tempfile.mkstemp(prefix=UNFINISHED, suffix=path.suffix, dir=folder))
    try:
        with _explained(path, written):
            yield written
            _as_umask_says(written)
            _flush(written)
            written.replace(path)
            _flush(folder)
    finally:
        written.unlink(missing_ok=True)
        os.close(held)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill; it takes the place of `path` when the block ends, and is gone if it fails.

    Raises UserError and DiskError as `whole_file` does.
    """
    is_new = not path.parent.exists()
    parent = writable_folder(path.parent)
    held, filled = _held(path, lambda: _opened_folder(tempfile.mkdtemp(prefix=UNFINISHED, dir=parent)))
    try:
        with _explained(path, filled / ".more"):
            filled.chmod(0o777 & ~_umask())
            yield filled
            _flush_all(held)
            _put_in_place(filled, path)
            _flush(parent)
    finally:
        shutil.rmtree(filled, ignore_errors=True)
        os.close(held)
        if is_new and not any(parent.iterdir()):
            parent.rmdir()


def writable_folder(path: Path) -> Path:
    """`path`, created if need be. Raises UserError if it is no folder that can be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UserError(f"{path}: cannot write there ({error.strerror}); choose another folder with --out") from error
    return path


def remove_leftovers(folder: Path) -> None:
    """Remove what killed commands were writing in `folder`; what a living one writes stays."""
    for path in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError):  # another process is faster, or the folder is read-only
            held = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            finally:
                os.close(held)


def reserve(path: Path, size: int) -> None:
    """Give a file `size` bytes of the disk. A full disk says so here; through a memory map, it would kill the process.

    Raises OSError.
    """
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _held(path: Path, make: Callable[[], tuple[int, str]]) -> tuple[int, Path]:
    """A new file or folder as (handle, path), and the lock on it until the handle is closed. path: what it is for."""
    while True:
        try:
            held, name = make()
        except OSError as error:
            kind = DiskError if error.errno in _NO_MORE else UserError
            raise kind(f"{path}: cannot be written ({error.strerror}){_ADVICE}") from error
        with suppress(OSError):  # where the file system knows no locks, `remove_leftovers` removes nothing
            fcntl.flock(held, fcntl.LOCK_EX)
        if Path(name).exists():
            return held, Path(name)
        os.close(held)  # in the moment before it was locked, it was taken for a leftover


def _opened_folder(name: str) -> tuple[int, str]:
    return os.open(name, os.O_RDONLY), name


@contextmanager
def _explained(path: Path, written: Path) -> Iterator[None]:
    """Turns it into one line if the disk takes no more, in whatever words the library that wrote puts it.

    path: what is being written; written: a file where the disk can be asked.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        refusal = error if isinstance(error, OSError) and error.errno in _NO_MORE else _refusal_of_more(written)
        if refusal is None:
            raise
        raise DiskError(f"{path}: cannot be written ({os.strerror(refusal.errno)}){_ADVICE}") from error


def _refusal_of_more(written: Path) -> OSError | None:
    """What the disk says to a little more in a file; None if it takes it."""
    try:
        with written.open("ab") as file:
            file.write(bytes(_LITTLE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error if error.errno in _NO_MORE else None
    return None


def _flush(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_all(held: int) -> None:
    """Wait until the disk has all that was written: a tenth of the time that one file after the other takes."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if libc is None:
        os.sync()
    elif libc.syncfs(held):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _put_in_place(filled: Path, path: Path) -> None:
    """Rename a folder; one that is there already takes its old name, in the same step where the system can."""
    if not path.exists():
        filled.replace(path)
    elif not _exchange(filled, path):
        old = Path(f"{filled}-replaced")
        path.replace(old)
        try:
            filled.replace(path)
        except BaseException:
            old.replace(path)  # the new folder did not make it: the old one stays
            raise
        shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders, if the system can."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "renameat2"):
        return False
    return libc.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _as_umask_says(path: Path) -> None:
    path.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
