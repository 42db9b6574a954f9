"""Damage done to archives, each kind a function of their bytes and a random generator: the same seed, the same damage.

What accidents do to any file comes first; then headers that lie, as no accident writes them, and last what is packed
again with all sums right. Formats: APPNOTE.TXT 4.3 (zip), POSIX.1-2001 (tar).
"""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable

import numpy as np

Damage = Callable[[bytes, np.random.Generator], bytes]

# Of a number in a zip header: its place, its layout.
_LOCAL_FIELDS = {"flags": (6, "<H"), "method": (8, "<H"), "crc": (14, "<L"), "packed bytes": (18, "<L"),
                 "bytes": (22, "<L"), "name bytes": (26, "<H"), "extra bytes": (28, "<H")}  # fmt: skip
_CENTRAL_FIELDS = {"flags": (8, "<H"), "method": (10, "<H"), "crc": (16, "<L"), "packed bytes": (20, "<L"),
                   "bytes": (24, "<L"), "name bytes": (28, "<H"), "extra bytes": (30, "<H"),
                   "comment bytes": (32, "<H"), "attributes": (38, "<L"), "offset": (42, "<L")}  # fmt: skip
_END_FIELDS = {"disk": (4, "<H"), "entries here": (8, "<H"), "entries": (10, "<H"), "directory bytes": (12, "<L"),
               "offset": (16, "<L"), "comment bytes": (20, "<H")}  # fmt: skip
_CENTRAL_BYTES, _BLOCK = 46, 512


# -- of any file


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits turned, anywhere."""
    changed = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """The beginning only; half of the cuts fall into the last 600 bytes, where directories end."""
    near_end = rng.random() < 0.5
    return data[: int(rng.integers(max(0, len(data) - 600) if near_end else 0, len(data)))]


def blocks_swapped(data: bytes, rng: np.random.Generator) -> bytes:
    """Two blocks of a disk at each other's place."""
    blocks = [data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK)]
    first, second = rng.integers(0, len(blocks), 2)
    blocks[first], blocks[second] = blocks[second], blocks[first]
    return b"".join(blocks)


def block_doubled(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch that stands there twice; of whole blocks in half of the cases."""
    unit = _BLOCK if rng.random() < 0.5 else 1
    start = unit * int(rng.integers(0, len(data) // unit + 1))
    end = start + unit * int(rng.integers(1, 2 + 2000 // unit))
    return data[:end] + data[start:end] + data[end:]


def block_zeroed(data: bytes, rng: np.random.Generator) -> bytes:
    """What a download leaves where a piece is missing."""
    start = int(rng.integers(0, len(data)))
    count = min(int(rng.integers(1, 2 * _BLOCK)), len(data) - start)
    return data[:start] + bytes(count) + data[start + count :]


ANY: dict[str, Damage] = {
    "bits flipped": flipped,
    "cut": cut,
    "blocks swapped": blocks_swapped,
    "block doubled": block_doubled,
    "block of zeros": block_zeroed,
}


# -- of zip


def _directory(data: bytes) -> list[int]:
    """Where the headers of a whole zip's directory stand."""
    end = data.rindex(b"PK\x05\x06")
    count, _, place = struct.unpack_from("<HLL", data, end + 10)
    places = []
    for _ in range(count):
        places.append(place)
        place += _CENTRAL_BYTES + sum(struct.unpack_from("<HHH", data, place + 28))
    return places


def _with_number(data: bytes, place: int, layout: str, value: int) -> bytes:
    return data[:place] + struct.pack(layout, value) + data[place + struct.calcsize(layout) :]


def _with_lie(data: bytes, start: int, fields: dict[str, tuple[int, str]], rng: np.random.Generator) -> bytes:
    """One number of a header is another one: a bit more or less, nothing, the largest, or anything."""
    offset, layout = fields[str(rng.choice(list(fields)))]
    limit = 256 ** struct.calcsize(layout)
    (old,) = struct.unpack_from(layout, data, start + offset)
    lies = [0, 1, old + 1, old - 1, 2 * old, limit - 1, limit // 2, int(rng.integers(limit))]
    return _with_number(data, start + offset, layout, lies[rng.integers(len(lies))] % limit)


def zip_directory_lies(data: bytes, rng: np.random.Generator) -> bytes:
    return _with_lie(data, int(rng.choice(_directory(data))), _CENTRAL_FIELDS, rng)


def zip_local_header_lies(data: bytes, rng: np.random.Generator) -> bytes:
    (start,) = struct.unpack_from("<L", data, int(rng.choice(_directory(data))) + 42)
    return _with_lie(data, start, _LOCAL_FIELDS, rng)


def zip_end_lies(data: bytes, rng: np.random.Generator) -> bytes:
    return _with_lie(data, data.rindex(b"PK\x05\x06"), _END_FIELDS, rng)


def zip_entries_swapped(data: bytes, rng: np.random.Generator) -> bytes:
    """Two entries whose directory headers name each other's place."""
    first, second = (int(place) + 42 for place in rng.choice(_directory(data), 2, replace=False))
    ours, theirs = data[first : first + 4], data[second : second + 4]
    changed = bytearray(data)
    changed[first : first + 4], changed[second : second + 4] = theirs, ours
    return bytes(changed)


def zip_entry_renamed(data: bytes, rng: np.random.Generator) -> bytes:
    """One letter of a name is another one, in the directory only."""
    header = int(rng.choice(_directory(data)))
    (name_bytes,) = struct.unpack_from("<H", data, header + 28)
    place = header + _CENTRAL_BYTES + int(rng.integers(name_bytes))
    return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]


ZIP: dict[str, Damage] = {
    "zip directory lies": zip_directory_lies,
    "zip local header lies": zip_local_header_lies,
    "zip end record lies": zip_end_lies,
    "zip entries swapped": zip_entries_swapped,
    "zip entry renamed": zip_entry_renamed,
}


# -- of tar


def _tar_headers(data: bytes) -> list[int]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [member.offset for member in archive.getmembers()]


def tar_header_lies(data: bytes, rng: np.random.Generator) -> bytes:
    """A size, a kind, a name or a sum that is another one; the header's sum agrees with half of the sizes and kinds.

    A name with a right sum is no damage: it makes another archive, and nothing tells that it was not meant.
    """
    start = int(rng.choice(_tar_headers(data)))
    header = bytearray(data[start : start + _BLOCK])
    what = rng.integers(4)
    if what == 0:
        sizes = [0, 1, 8**11 - 1, int(rng.integers(8**6)), int(rng.integers(8**11))]
        header[124:136] = f"{sizes[rng.integers(len(sizes))]:011o}\0".encode()
    elif what == 1:
        header[156] = int(rng.integers(256))
    else:
        header[int(rng.integers(0, 100 if what == 2 else _BLOCK))] = int(rng.integers(256))
    if what in (0, 1) and rng.random() < 0.5:
        header[148:156] = b" " * 8
        header[148:156] = f"{sum(header):06o}\0 ".encode()
    return data[:start] + bytes(header) + data[start + _BLOCK :]


TAR: dict[str, Damage] = {"tar header lies": tar_header_lies}


# -- packed again, with all sums right


def packed_in_gzip(damage: Damage) -> Damage:
    """Damage to the tar in a tar.gz: gzip finds nothing wrong."""

    def damaged(data: bytes, rng: np.random.Generator) -> bytes:
        return gzip.compress(damage(gzip.decompress(data), rng), 1, mtime=0)

    return damaged


def zip_of(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip without dates; names that end with "/" are folders."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def packed_in_zip(damage: Callable[[str], list[Damage]], suffixes: tuple[str, ...]) -> Damage:
    """Damage to one entry of a zip that ends so, packed again: the outer zip finds nothing wrong.

    damage: what may be done to an entry of a name.
    """

    def damaged(data: bytes, rng: np.random.Generator) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            compression = archive.infolist()[-1].compress_type
            files = {name: archive.read(name) for name in archive.namelist()}
        name = str(rng.choice([name for name in files if name.endswith(suffixes) and files[name]]))
        kinds = damage(name)
        files[name] = kinds[rng.integers(len(kinds))](files[name], rng)
        return zip_of(files, compression)

    return damaged


INSIDE: dict[str, Damage] = {
    "archive inside damaged": packed_in_zip(
        lambda name: [*ANY.values(), *(ZIP.values() if name.endswith(".zip") else ())], (".zip", ".rar")
    )
}
# A wrong picture with the right sum can't be told from a right one: whoever makes it, makes another data set.
CONTENT: dict[str, Damage] = {
    "file damaged, packed again": packed_in_zip(
        lambda name: list(ANY.values()), (".tif", ".tiff", ".png", ".jpg", ".csv", ".xml")
    )
}
