"""The directory of a tar archive, checked, and the tar inside a compressed one.

A tar has no directory: each member stands behind a header of its own, so all headers are read once and their places
kept. tarfile takes a damaged header in the middle for the end, and an extended header into memory whatever size it
declares; here the first is an error and the second has a limit. Format: POSIX.1-2001, pax; GNU tar manual, "Basic Tar
Format".
"""

import bz2
import errno
import gzip
import lzma
import os
import tarfile
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sarship.command import UserError
from sarship.refusals import over_budget
from sarship.zip_members import MAX_ENTRIES, TOO_MANY, Unfit

HEADER_BYTES = 512  # so long is a header, and what lies behind it is filled up to a multiple of it
_EXTENDED_BYTES = 1 << 20  # for one name; Linux has paths of 4,096 bytes at most
# xz -9 needs 65 MiB to unpack (man xz); a header may ask for 4 GiB.
_XZ_MEMORY_BYTES = 1 << 28
_BLOCK_BYTES = 1 << 20

_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, b"x", b"g"
_LINKS_AND_DEVICES = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)


class TarMember(NamedTuple):
    """A file or a folder, whose name then ends with "/"; offset: of its first byte."""

    name: str
    size: int
    offset: int


def is_tar(start: bytes) -> bool:
    """Whether a file that starts with these bytes is a tar that holds something."""
    try:
        tarfile.TarInfo.frombuf(start[:HEADER_BYTES], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def is_compressed(start: bytes) -> bool:
    """Whether a file that starts with these bytes may be a tar compressed by gzip, bzip2 or xz."""
    return start.startswith((_GZIP, _BZIP2, _XZ))


def unpack(file: BinaryIO, archive: str, max_bytes: int) -> Path:
    """The tar inside a compressed file, as a temporary file that the caller removes; there is none after an error.

    Raises UserError as soon as it has more than max_bytes, and if there is no room for it; ValueError, EOFError,
    zlib.error or LZMAError if what is compressed is no tar, or damaged.
    """
    handle, name = tempfile.mkstemp(prefix="sarship-", suffix=".tar")
    try:
        with os.fdopen(handle, "wb") as tar:
            for block in _unpacked_blocks(file):
                if tar.tell() + len(block) > max_bytes:
                    raise over_budget(archive, f"more than {max_bytes:,}")
                tar.write(block)
    except BaseException as error:
        Path(name).unlink()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            folder = tempfile.gettempdir()
            raise UserError(f"{folder}: has no room for an unpacked tar; set TMPDIR to a folder that has") from error
        raise
    return Path(name)


def _unpacked_blocks(file: BinaryIO) -> Iterator[bytes]:
    """What gzip, bzip2 or xz make of a file, in blocks so that no more is unpacked than is taken."""
    start = file.read(len(_XZ))
    file.seek(0)
    if start.startswith(_XZ):
        yield from _xz_blocks(file)
        return
    reader = gzip.GzipFile(fileobj=file) if start.startswith(_GZIP) else bz2.BZ2File(file)
    try:
        yield from iter(partial(reader.read, _BLOCK_BYTES), b"")
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(str(error)) from error  # both say so of bytes that they can't unpack


def _xz_blocks(file: BinaryIO) -> Iterator[bytes]:
    """lzma.LZMAFile has no limit of memory. A file may be several streams, with zeros between them."""
    packed = file.read(_BLOCK_BYTES)
    while packed:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
        while not stream.eof:
            if block := stream.decompress(packed, _BLOCK_BYTES):
                yield block
            packed = b""
            if stream.needs_input and not stream.eof:
                packed = file.read(_BLOCK_BYTES)
                if not packed:
                    raise EOFError("the compressed data end too early")
        packed = stream.unused_data.lstrip(b"\0")
        while not packed and (more := file.read(_BLOCK_BYTES)):
            packed = more.lstrip(b"\0")


def tar_directory(file: BinaryIO) -> list[TarMember]:
    """All files and folders of a tar, in its order.

    Raises Unfit for a member that is a link, a device or stored in a way that is not read; EOFError for a tar that is
    cut; tarfile.HeaderError or ValueError for a header that makes no sense.
    """
    file_bytes = file.seek(0, os.SEEK_END)
    members: list[TarMember] = []
    said: dict[str, str] = {}  # of the next member, by extended headers
    position = 0
    while True:
        file.seek(position)
        header = file.read(HEADER_BYTES)
        if position == 0 and any(header) and not is_tar(header):
            raise ValueError("what is compressed in it is no tar")
        if len(header) == HEADER_BYTES and not any(header):
            if said:
                raise ValueError("a header stands before no member")
            if any(map(any, iter(partial(file.read, _BLOCK_BYTES), b""))):
                raise ValueError("more stands behind its end, or zeros within it")
            return members
        info = _header(header)
        if info.type in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL):
            said |= _extended(info, file)
            size = info.size
        else:
            member = _member(info, said, position + HEADER_BYTES)
            if member.name != "/":  # "tar -c ." begins with the folder itself
                members.append(member)
            if len(members) > MAX_ENTRIES:
                raise Unfit(TOO_MANY)
            said = {}
            size = member.size
        position += HEADER_BYTES + -(-size // HEADER_BYTES) * HEADER_BYTES
        if position > file_bytes:
            raise EOFError("it ends within a member")


def _header(header: bytes) -> tarfile.TarInfo:
    if len(header) < HEADER_BYTES:
        raise EOFError("the end-of-archive block is missing")
    info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    if info.size < 0:
        raise ValueError("a member has less than no bytes")
    return info


def _extended(info: tarfile.TarInfo, file: BinaryIO) -> dict[str, str]:
    """What a header says of the member behind it: its path, size, and names of pax that begin with GNU.sparse."""
    if info.size > _EXTENDED_BYTES:
        raise ValueError(f"a header of {info.size:,} bytes")
    data = file.read(info.size)
    # What is no name and no records is a file whose kind was changed: it would be lost without a word.
    if info.type in (_LONG_NAME, _LONG_LINK):
        name = data.rstrip(b"\0")
        if not name or b"\0" in name:
            raise ValueError("a long name that is none")
        return {"path" if info.type == _LONG_NAME else "linkpath": name.decode("utf-8", "surrogateescape")}
    records = dict(_pax_records(data))
    if info.type == _PAX_FOR_ALL:
        return {}
    return {key: value for key, value in records.items() if key in ("path", "size") or "GNU.sparse" in key}


def _pax_records(data: bytes) -> Iterator[tuple[str, str]]:
    """Key and value of each record, which is written "<bytes of the record> <key>=<value>" and a line feed."""
    start = 0
    while start < len(data):
        space = data.find(b" ", start, start + 8)  # _EXTENDED_BYTES has seven digits
        digits = data[start:space] if space > 0 else b""
        end = start + int(digits) if digits.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not (space < end <= len(data) and equals and data[end - 1 : end] == b"\n"):
            raise ValueError("an extended header that is none")
        yield key.decode("utf-8", "replace"), value.decode("utf-8", "surrogateescape")
        start = end


def _member(info: tarfile.TarInfo, said: dict[str, str], offset: int) -> TarMember:
    raw_name = said.get("path", info.name)
    if info.type in _LINKS_AND_DEVICES:
        raise Unfit(raw_name, "is a link or a device; repack the archive without it")
    if info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in said):
        raise Unfit(raw_name, "is stored with holes; repack the archive without --sparse")
    if not (info.isreg() or info.isdir()):
        raise Unfit(raw_name, f"is of a kind that is not read ({info.type!r}); repack the archive without it")
    if "linkpath" in said:
        raise ValueError("a long name of a link stands before no link")
    name = "/".join(part for part in raw_name.split("/") if part != ".")  # "tar -c ." writes "./name"
    if info.isdir():
        return TarMember(name.rstrip("/") + "/", 0, offset)
    size = said.get("size", str(info.size))
    if not (size.isascii() and size.isdigit()):
        raise ValueError(f"a member of {size!r} bytes")
    return TarMember(name, int(size), offset)
