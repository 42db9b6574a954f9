"""The directory of a zip archive, checked and kept small, and its members, read by their place.

zipfile reads the directory, and has the last word on whatever is not as it should be. A member as it should be is
unpacked by libdeflate, twice as fast as by zlib: whole, and into no more than the bytes that the directory declares.
"""

import io
import os
import stat
import struct
import zipfile
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import imagecodecs

_LOCAL_HEADER_BYTES = 30  # without name and extra field, whose lengths are its last two numbers (APPNOTE.TXT 4.3.7)
# Bits of the general purpose flag that change nothing here: how hard was deflated, sizes behind the data, UTF-8.
_HARMLESS_FLAGS = 0x2 | 0x4 | 0x8 | 0x800
_UTF_8_FLAG = 0x800
_LOCAL_MARK = b"PK\x03\x04"
_ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000  # bits 0, 6 and 13 (APPNOTE.TXT 4.4.4)
_LARGEST_RATIO = 1032  # of deflate: 258 bytes from two bits


# Of one archive. zipfile makes an object of each, and a header is read of every one. A million and more make an archive
# that takes gigabytes to list; NWPU-RESISC45, the largest in scene_sets.py, has 31,500 images.
MAX_ENTRIES = 500_000
MAX_DIRECTORY_BYTES = 1 << 28
TOO_MANY = f"holds more than {MAX_ENTRIES:,} entries; unpack it, and give the folder"


class Unfit(Exception):
    """A member for which the whole archive is refused; its arguments are the member's name and why."""


class Member(NamedTuple):
    """What the directory says of one file or folder, and where the next one begins."""

    name: str  # as it stands there
    size: int  # bytes once unpacked
    offset: int  # of the local header
    end: int  # of the next local header, or of the directory
    packed_bytes: int
    method: int
    flags: int
    crc: int


def read_directory(file: BinaryIO) -> list[Member]:
    """All members, in the order of the directory. Raises Unfit, or what zipfile raises on bytes that are no zip.

    Members follow one another from byte 0, or the directory lies. Those that share bytes make a zip bomb. Bytes
    before the first: zipfile has taken the directory of a stored inner zip for that of the truncated outer one.
    Each stands there under its own name, also where it is never read: or a picture whose name is damaged in the
    directory would be no picture, and missed by nobody.
    """
    directory = zipfile.ZipFile(_ShortDirectory(file))
    infos = directory.infolist()
    for info in infos:
        _check(info)
    starts = sorted([*(info.header_offset for info in infos), directory.start_dir])
    if starts[0] != 0:
        raise zipfile.BadZipFile("its directory is that of a zip inside it")
    end_of: dict[int, int] = {}
    for start, end in pairwise(starts):
        end_of.setdefault(start, end)  # where two start together, the first end is the start itself: no room for either
    # Members, not zipfile's own records, which would be most of the memory that a large archive takes.
    members = [_member(info, end_of[info.header_offset]) for info in infos]
    for info, member in zip(infos, members, strict=True):
        _check_place(file, info.orig_filename, member)
    return members


class _ShortDirectory:
    """An open file as zipfile reads it, which takes the whole directory in one read and makes objects of all of it."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        """Raises Unfit for a directory of too many bytes or entries; a name may hold an entry's mark, and counts."""
        if size > MAX_DIRECTORY_BYTES:
            raise Unfit(f"has a directory of {size:,} bytes; unpack it, and give the folder")
        data = self._file.read(size)
        if data.count(b"PK\x01\x02") > MAX_ENTRIES:
            raise Unfit(TOO_MANY)
        return data


def _check_place(file: BinaryIO, as_stored: str, member: Member) -> None:
    """Raises BadZipFile unless a header of its name, as the directory has it, stands where that says."""
    name = _stored_name(as_stored, member.flags)
    file.seek(member.offset)
    header = file.read(_LOCAL_HEADER_BYTES + len(name))
    named = len(header) >= _LOCAL_HEADER_BYTES and struct.unpack_from("<H", header, 26)[0] == len(name)
    if not (header.startswith(_LOCAL_MARK) and named and header[_LOCAL_HEADER_BYTES:] == name):
        raise zipfile.BadZipFile(f"no entry of the name {member.name[:100]!r} stands where its directory says")


def _stored_name(name: str, flags: int) -> bytes:
    return name.encode("utf-8" if flags & _UTF_8_FLAG else "cp437", errors="replace")


def _check(info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Unfit(info.orig_filename, "is a link or a device; repack the archive without it")
    if info.flag_bits & _ENCRYPTED_FLAGS:
        raise Unfit(info.orig_filename, "is encrypted; repack the archive without a password")
    # Only these two: zipfile unpacks bz2 and lzma in pieces of any size, so a small file could fill the memory.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unfit(info.orig_filename, f"has compression method {info.compress_type}; repack with deflate")


def _member(info: zipfile.ZipInfo, end: int) -> Member:
    if info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size > end:
        raise Unfit(info.orig_filename, "shares bytes with its neighbour; don't trust this archive")
    packed = (info.compress_size, info.compress_type, info.flag_bits, info.CRC)
    return Member(info.orig_filename, info.file_size, info.header_offset, end, *packed)


def data_start(file: BinaryIO, member: Member) -> int:
    """Where the packed bytes begin. Raises struct.error if the file ends before."""
    file.seek(member.offset)
    name_bytes, extra_bytes = struct.unpack("<26xHH", file.read(_LOCAL_HEADER_BYTES))
    return member.offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes


def read_member(file: BinaryIO, member: Member) -> bytes | None:
    """The bytes of a member; None if anything is not as it should be: zipfile then refuses it, or knows better.

    Checked: local header, name, that it ends before the next member, length and CRC-32.
    """
    file.seek(member.offset)
    header = file.read(_LOCAL_HEADER_BYTES)
    if len(header) < _LOCAL_HEADER_BYTES or not header.startswith(_LOCAL_MARK) or member.flags & ~_HARMLESS_FLAGS:
        return None
    name_bytes, extra_bytes = struct.unpack("<26xHH", header)
    start = name_bytes + extra_bytes
    if member.offset + _LOCAL_HEADER_BYTES + start + member.packed_bytes > member.end:
        return None
    block = file.read(start + member.packed_bytes)
    if block[:name_bytes] != _stored_name(member.name, member.flags) or len(block) < start + member.packed_bytes:
        return None
    data = _unpacked(memoryview(block)[start:], member)
    if data is None or len(data) != member.size or imagecodecs.deflate_crc32(data) != member.crc:
        return None
    return data


def _unpacked(packed: memoryview, member: Member) -> bytes | None:
    if member.method == zipfile.ZIP_STORED:
        return bytes(packed)
    if member.size > _LARGEST_RATIO * len(packed):
        return None  # before memory is taken for what can't be there
    try:
        return imagecodecs.deflate_decode(packed, raw=True, out=member.size)
    except imagecodecs.DeflateError:
        return None


class Window(io.RawIOBase):
    """A stretch of an open file as a file of its own: how a stored member is read in place."""

    def __init__(self, file: BinaryIO, start: int, size: int):
        super().__init__()
        self._file, self._start, self._size, self._position = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if position < 0:
            raise ValueError("negative seek position")
        self._position = position
        return position

    def readinto(self, buffer) -> int:
        self._file.seek(self._start + self._position)
        data = self._file.read(min(len(buffer), max(0, self._size - self._position)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
