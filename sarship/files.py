"""Outputs are whole or absent: files and folders are written beside their place and renamed into it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sarship.command import UserError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A path to write to; it becomes `path` in one step when the block ends, and is gone if it fails.

    Raises UserError if the folder of `path` cannot be written.
    """
    folder = writable_folder(path.parent)
    # The suffix stays last: pillow, matplotlib and torch choose a format by it.
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=folder)
    os.close(handle)
    written = Path(name)
    try:
        yield written
        _as_umask_says(written)
        written.replace(path)
    finally:
        written.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill; it takes the place of `path` when the block ends, and is gone if it fails."""
    is_new = not path.parent.exists()
    parent = writable_folder(path.parent)
    filled = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=parent))
    filled.chmod(0o777 & ~_umask())
    replaced = Path(f"{filled}-replaced")
    try:
        yield filled
        if path.exists():
            path.replace(replaced)
        filled.replace(path)
    finally:
        if replaced.exists() and not path.exists():
            replaced.replace(path)  # the new folder did not make it: the old one stays
        shutil.rmtree(filled, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
        if is_new and not any(parent.iterdir()):
            parent.rmdir()


def writable_folder(path: Path) -> Path:
    """`path`, created if need be. Raises UserError if it is no folder that can be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot write there ({error.strerror}); choose another folder with --out") from error
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _as_umask_says(path: Path) -> None:
    path.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
