"""New images on their way to a trained network: found in files, folders and archives, and brought to its chips' size.

Nothing here keeps more than the few images that are being decoded, however many there are.
"""

import hashlib
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from sarship.archives import Entry, Source, is_archive, open_source
from sarship.command import UserError
from sarship.geometry import metric_chip, resized_chip
from sarship.readers import Note
from sarship.readers.images import MAX_FILE_BYTES, ImageError, decode_image, is_image
from sarship.tar_members import HEADER_BYTES, is_compressed, is_tar

# The chips of an OpenSARShip scene in 8 bit; beside them complex or float pixels, and figures with axes, for people.
_PATCHES, _OTHER_PATCHES = "Patch_Uint8", {"Patch", "Patch_Cal", "Patch_RGB"}
_PACKED = (b"PK\x03\x04", b"PK\x05\x06", b"Rar!\x1a\x07")  # what zip and rar begin with, whatever their names


@dataclass(frozen=True)
class Found:
    """The bytes of what may be an image. name: where it lies, for people."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Unread:
    """A file that gives no chip, and why, in one line."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class NewChip:
    """An image as the network takes it: (size, size) or (size, size, 3) uint8. is_resized: it had another size."""

    name: str
    pixels: np.ndarray
    is_resized: bool


@dataclass(frozen=True)
class Scale:
    """The one scale in metres of chips that were prepared with --geometry metric."""

    extent_m: float
    spacing_m: float


@dataclass(frozen=True)
class Framing:
    """How an image becomes a chip like those of training.

    size: pixels per side; bands: "grey" or "rgb"; white, rgb_bands: as of `decode_image`; scale: of the chips of
    training, None if they have none or it is not known; image_spacing_m: of the rows and columns of the images, None
    if it is not known.
    """

    size: int
    bands: str
    white: int | None = None
    rgb_bands: tuple[int, int, int] | None = None
    scale: Scale | None = None
    image_spacing_m: tuple[float, float] | None = None

    def __call__(self, found: Found) -> NewChip | Unread:
        try:
            pixels = decode_image(found.data, self.bands, self.white, self.rgb_bands)
        except ImageError as error:
            return Unread(found.name, str(error))
        if self.scale and self.image_spacing_m:
            # What is drawn for sea beyond the image's border hangs on its pixels: the same image, the same answer.
            seed = int.from_bytes(hashlib.sha256(np.ascontiguousarray(pixels)).digest()[:8])
            scale = self.scale
            chip = metric_chip(pixels, self.image_spacing_m, scale.extent_m, scale.spacing_m, seed)
            return NewChip(found.name, chip, False)
        is_resized = pixels.shape[:2] != (self.size, self.size)
        return NewChip(found.name, resized_chip(pixels, self.size), is_resized)


def read_chips(
    paths: Iterable[Path], framing: Framing, max_bytes: int, workers: int
) -> Iterator[NewChip | Unread | Note]:
    """The chips of all paths in their order, inside folders and archives by name; `workers` threads decode ahead.

    What cannot be read is there as `Unread`, and the others still come. max_bytes: as that of `open_source`.
    """
    # decode_image sets the filters of warnings aside, which belong to all threads: one may put back those of another.
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for path in paths:
            for item in find_images(path, max_bytes):
                waiting.append(pool.submit(framing, item) if isinstance(item, Found) else item)
                if len(waiting) > workers:
                    yield _settled(waiting.popleft())
        while waiting:
            yield _settled(waiting.popleft())


def _settled(item):
    return item if isinstance(item, Unread | Note) else item.result()


def find_images(path: Path, max_bytes: int) -> Iterator[Found | Unread | Note]:
    """The images of a file, a folder or an archive, and of archives inside these, sorted by name.

    A file that is named is taken for an image whatever its suffix; in folders and archives, those with the suffix of
    an image are, unless they are hidden.
    """
    name = str(path).encode(errors="backslashreplace").decode()  # a name that is no text cannot be printed
    try:
        if path.is_dir() or _is_packed(path):
            with open_source(path, max_bytes) as source:
                yield from _images_in(source, name)
        elif (size := path.stat().st_size) > MAX_FILE_BYTES:
            yield _too_large(name, size)
        else:
            yield Found(name, path.read_bytes())
    except OSError as error:
        yield Unread(name, f"cannot be read ({error.strerror})")
    except UserError as error:
        yield Unread(name, str(error))


def _is_packed(path: Path) -> bool:
    if is_archive(path.name):
        return True
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    return start.startswith(_PACKED) or is_tar(start) or is_compressed(start)


def _images_in(source: Source, where: str) -> Iterator[Found | Unread | Note]:
    entries = source.entries()
    patches = _without_other_patches(entries)
    chosen = [entry for entry in patches if is_image(entry.name) or is_archive(entry.name)]
    if len(patches) < len(entries):
        folders = ", ".join(sorted(_OTHER_PATCHES))
        yield Note(f"{where}: of the chips of OpenSARShip, those in {_PATCHES} are read, and none in {folders}")
    if len(chosen) < len(patches):
        yield Note(
            f"{where}: {len(patches) - len(chosen)} files are left out, hidden or without the suffix of an image"
        )
    if not chosen:
        yield Unread(where, "holds no image")
    for entry in chosen:
        name = f"{where}/{entry.name}"
        try:
            if is_archive(entry.name):
                with source.open_nested(entry) as nested:
                    yield from _images_in(nested, name)
            elif entry.size > MAX_FILE_BYTES:
                yield _too_large(name, entry.size)
            else:
                yield Found(name, source.read(entry))
        except UserError as error:
            yield Unread(name, str(error))


def _too_large(name: str, size: int) -> Unread:
    return Unread(name, f"has {size:,} bytes, too many for an image")


def _without_other_patches(entries: list[Entry]) -> list[Entry]:
    """All entries but those of an OpenSARShip scene that are other pictures of the chips in Patch_Uint8."""
    folders = [PurePosixPath(entry.name).parent for entry in entries]
    scenes = {folder.parent for folder in folders if folder.name == _PATCHES}
    return [
        entry
        for entry, folder in zip(entries, folders, strict=True)
        if not (folder.name in _OTHER_PATCHES and folder.parent in scenes)
    ]
