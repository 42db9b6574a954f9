"""Files of tensors and plain values (.pt): written whole, and read without running anything that they carry.

PyTorch's format is a zip archive with a CRC-32 of each entry, at which PyTorch itself does not look: a flipped bit in
the weights would go unseen. Here it does not.
"""

import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

from sarship.files import whole_file

AT_ONCE_BYTES = 4 << 20  # entries up to here are checked when a file is opened; what is larger is weights
_BLOCK_BYTES = 1 << 20


class DamagedError(Exception):
    """A file that is no such file, not whole, not as it was written, or holds more than tensors and plain values."""


def save_tensors(path: Path, content: Mapping) -> None:
    """Write a file, whole or not at all; the same content gives the same bytes. Raises as `files.whole_file` does."""
    # By a path, PyTorch would make the temporary file's name a part of the bytes.
    with whole_file(path) as written, written.open("wb") as file:
        torch.save(_unshared(dict(content)), file)


def _unshared(value):
    """Equal plain values, in objects of their own, but every text is one object.

    The file says of what it holds twice that it is the same object, and so it would differ between a run that was
    resumed and one that was not.
    """
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, Mapping):
        return {_unshared(key): _unshared(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_unshared, value))
    return value


def load_tensors(path: Path, mapped: bool = False) -> dict:
    """What `save_tensors` wrote. mapped: large tensors stay on the disk until they are used, and unchecked until
    `check_tensors` is called.

    Raises FileNotFoundError, and DamagedError for anything else that cannot be used.
    """
    try:
        check_tensors(path, AT_ONCE_BYTES if mapped else None)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (OSError, DamagedError):
        raise
    except pickle.UnpicklingError as error:
        raise DamagedError("it holds more than tensors and plain values, which is not run") from error
    except Exception as error:  # torch.load raises many unrelated types for a damaged or foreign file
        raise DamagedError(f"it cannot be read, {type(error).__name__}") from error
    if not isinstance(content, dict):
        raise DamagedError(f"it holds a {type(content).__name__}")
    return content


def check_tensors(path: Path, at_most: int | None = None) -> None:
    """Hold the entries of a file, those of at most so many bytes, against their checksums.

    Raises FileNotFoundError, and DamagedError for a wrong one or a file of another form.
    """
    try:
        with zipfile.ZipFile(path) as file:
            for entry in file.infolist():
                # PyTorch stores entries as they are: a compressed one could unpack to any size.
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                    raise DamagedError("it was not written by PyTorch")
                if at_most is None or entry.file_size <= at_most:
                    with file.open(entry) as content:
                        while content.read(_BLOCK_BYTES):
                            pass
    except OSError:
        raise
    except Exception as error:  # zipfile and what it stands on raise many types for damaged bytes
        raise error if isinstance(error, DamagedError) else DamagedError("its bytes are not as written") from error
