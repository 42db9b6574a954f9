"""Folders, zip, rar and tar archives, and archives inside them, read where they lie and trusted in nothing.

`open_source` gives a `Source`. Whatever the directory of an archive shows to be wrong is refused when it
is opened, before a reader sees the first entry; the rest (a wrong checksum, a header that lies about a
size) when the entry is read. Every refusal is a UserError of one line that names archive and entry.

Nothing is unpacked to disk here but a compressed tar, which can't be read in parts: it goes into a temporary file
that is gone when its source is closed. An archive inside another is held in memory, one at a time, or read where it
lies if it is stored without compression. (The rarfile library hands an external extractor a temporary file with the
still compressed bytes of one entry, or of the whole archive if that is solid.)
"""

import copy
import hashlib
import io
import os
import re
import sys
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import rarfile

from sarship.command import UserError
from sarship.rar_members import open_rar, require_extractor
from sarship.refusals import Budget, damaged, is_litter, one_line, refusal, safe_name
from sarship.tar_members import HEADER_BYTES, TarMember, is_compressed, is_tar, tar_directory, unpack
from sarship.zip_members import Member, Window, data_start, read_directory, read_member

# OpenSARShip needs two levels: the outer archive, and a scene archive in it. One more for a user who packed both.
MAX_LEVELS = 3

# No entry larger than this is taken into memory, and one inside another is there twice. Scene archives, the largest
# things that are, have some 1 to 100 MB.
MAX_ENTRY_BYTES = 1 << 29

_ARCHIVE_NAME = re.compile(r"\.(zip|rar)(\s*\(\d+\))?$", re.IGNORECASE)
_BLOCK_BYTES = 1 << 20


def is_archive(name: str) -> bool:
    """Whether an entry of this name is worth `open_nested`; a copy's suffix, as in "a.zip (1)", is no obstacle."""
    return _ARCHIVE_NAME.search(name) is not None


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in a source. name: with "/" between folders, relative; size: bytes once unpacked, as declared."""

    name: str
    size: int


class Source(ABC):
    """A folder or an archive; a context manager. Open it with `open_source` or `open_nested`.

    name: the file or folder name, behind those of the archives round it: "OpenSARShip_2.zip/S1A_....zip".
    """

    def __init__(self, name: str, budget: Budget, level: int):
        self.name = name
        self._budget = budget
        self._level = level
        self._files: dict[str, tuple[Entry, Any]] = {}
        self._folders: set[str] = set()

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def entries(self) -> list[Entry]:
        """The files, sorted by name, without what macOS and Windows leave behind."""
        return [self._files[name][0] for name in sorted(self._files)]

    def folders(self) -> list[str]:
        """The folders, sorted by name, without "/" at the end; empty ones too, where the archive lists them."""
        of_files = (str(parent) for name in self._files for parent in PurePosixPath(name).parents)
        return sorted(self._folders.union(of_files) - {"."})

    def read(self, entry: Entry) -> bytes:
        """All bytes of an entry, never more than it declared. Raises UserError if damaged or past MAX_ENTRY_BYTES."""
        if entry.size > MAX_ENTRY_BYTES:
            why = f"has {entry.size:,} bytes, too many to read from within; unpack it first"
            raise refusal(self.name, entry.name, why)
        with one_line(self.name, entry.name):
            data = self._read(self._files[entry.name][1], entry.size)
        if len(data) != entry.size:
            raise damaged(f"{self.name}: {entry.name}", f"it does not hold the {entry.size:,} bytes that it declares")
        return data

    def open_nested(self, entry: Entry) -> "Source":
        """The archive that lies in this source under `entry`; to be closed before this one.

        Raises UserError as `open_source` does, and past MAX_LEVELS archives inside one another.
        """
        if self._level >= MAX_LEVELS:
            why = f"lies deeper than {MAX_LEVELS} archives inside one another; unpack it"
            raise refusal(self.name, entry.name, why)
        with one_line(self.name, entry.name):
            file = self._open_file(entry)
        return _open_archive(f"{self.name}/{entry.name}", file, self._budget, self._level + 1)

    def part(self, entries: Iterable[Entry]) -> "Source":
        """A source of these entries alone, which can be pickled: another process opens it when it reads.

        Only of what `open_source` gave. What the archives inside it declare is to be told by `declare` to this one.
        """
        part = copy.copy(self)
        part._files = {entry.name: self._files[entry.name] for entry in entries}
        part._folders = set()
        part._budget = copy.deepcopy(self._budget)
        part._let_go()
        return part

    @property
    def declared(self) -> dict[str, int]:
        """Bytes that this archive, and those that were opened inside it, unpack to, by their names."""
        return dict(self._budget.declared)

    def declare(self, declared: Mapping[str, int]) -> None:
        """Count what was declared in a part. Raises UserError as `open_nested` does."""
        for archive, size in declared.items():
            self._budget.declare(archive, size)

    def fingerprint(self) -> str:
        """SHA-256 over names, sizes and checksums: an archive and the folder it unpacks to have the same.

        Archives: as their directory has them, so cheap; `read` checks them. Folders: every file is read.
        """
        digest = hashlib.sha256()
        for entry in self.entries():
            with one_line(self.name, entry.name):
                checksum = self._checksum(self._files[entry.name][1])
            digest.update(f"{entry.name}\t{entry.size}\t{checksum}\n".encode())
        return digest.hexdigest()

    @abstractmethod
    def close(self) -> None:
        """Close the files below."""

    @abstractmethod
    def _let_go(self) -> None:
        """Forget open files, which can't be pickled; whoever reads then opens them again."""

    @abstractmethod
    def _read(self, handle: Any, size: int) -> bytes:
        """The bytes behind a handle, at most size + 1 of them."""

    @abstractmethod
    def _checksum(self, handle: Any) -> str:
        """CRC-32 in hex, or a better one where the archive has no CRC-32."""

    def _open_file(self, entry: Entry) -> BinaryIO:
        return io.BytesIO(self.read(entry))

    def _list(self, raw_name: str, size: int, handle: Any) -> None:
        """Take an entry into the list; a folder if there is "/" at the end of its name."""
        name = safe_name(self.name, raw_name)
        if is_litter(name):
            return
        if name.endswith("/"):
            self._folders.add(name.rstrip("/"))
            return
        if name in self._files:
            raise refusal(self.name, name, "stands there twice; repack the archive")
        self._files[name] = (Entry(name, size), handle)


def open_source(path: Path, max_bytes: int) -> Source:
    """A folder, a zip, rar, tar, tar.gz, tar.bz2 or tar.xz archive (the first bytes decide which, not the suffix).

    max_bytes: what the archive, and all archives that are opened inside it, may unpack to.
    Raises UserError for a path that is missing or no archive; an archive that is truncated, damaged, encrypted,
    compressed with an unknown method, or rar without an extractor; an entry that climbs out of its folder, is a
    link, or stands there twice; and for more than max_bytes.
    """
    path = Path(path)
    name = path.name if path.name not in ("", "..") else path.resolve().name
    budget = Budget(max_bytes)
    try:
        if path.is_dir():
            return _FolderSource(name, path, budget)
        file = path.open("rb")
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file or folder") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return _open_archive(name, file, budget, level=1, path=path)


def _open_archive(name: str, file: BinaryIO, budget: Budget, level: int, path: Path | None = None) -> Source:
    try:
        start = file.read(HEADER_BYTES)
        file.seek(0)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):  # the second: a zip without entries
            return _ZipSource(name, file, budget, level, path)
        if start.startswith(b"Rar!\x1a\x07"):
            return _RarSource(name, file, budget, level, path)
        if path is not None and (is_tar(start) or is_compressed(start)):
            return _TarSource(name, file, budget, path, is_compressed(start))
        raise UserError(f"{name}: is neither a zip nor a rar archive, nor a tar; get it again")
    except BaseException:
        file.close()
        raise


class _FolderSource(Source):
    """A folder. Its own files are not counted against max_bytes: they are unpacked already."""

    def __init__(self, name: str, path: Path, budget: Budget):
        super().__init__(name, budget, level=0)
        self._path = path
        self._walk(path)

    def _walk(self, folder: Path) -> None:
        where = "" if folder == self._path else folder.relative_to(self._path).as_posix()
        with one_line(self.name, where), os.scandir(folder) as found:
            children = sorted(found, key=lambda child: child.name)
        for child in children:
            path = folder / child.name
            name = path.relative_to(self._path).as_posix()
            if child.is_symlink():
                raise refusal(self.name, name, "is a link; put the file itself there")
            if child.is_dir():
                self._list(f"{name}/", 0, None)
                self._walk(path)
            elif child.is_file():
                self._list(name, child.stat().st_size, name)
            else:
                raise refusal(self.name, name, "is neither a file nor a folder; take it away")

    def close(self) -> None:
        pass  # every file is closed as soon as it is read

    def _let_go(self) -> None:
        pass  # there are none

    def _read(self, handle: str, size: int) -> bytes:
        with (self._path / handle).open("rb") as file:
            return file.read(size + 1)

    def _open_file(self, entry: Entry) -> BinaryIO:
        return (self._path / self._files[entry.name][1]).open("rb")

    def _checksum(self, handle: str) -> str:
        with (self._path / handle).open("rb") as file:
            return _crc(file)


def _crc(file: BinaryIO) -> str:
    crc = 0
    while block := file.read(_BLOCK_BYTES):
        crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


class _FileSource(Source):
    """An archive in one file, which a part opens again by its path (None for an archive inside another)."""

    def __init__(self, name: str, file: BinaryIO, budget: Budget, level: int, path: Path | None):
        super().__init__(name, budget, level)
        self._opened: BinaryIO | None = file
        self._path = path

    @property
    def _file(self) -> BinaryIO:
        if self._opened is None:
            self._opened = self._path.open("rb")
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
        if self._path is not None:
            self._let_go()

    def _let_go(self) -> None:
        self._opened = None


class _ZipSource(_FileSource):
    def __init__(self, name: str, file: BinaryIO, budget: Budget, level: int, path: Path | None):
        super().__init__(name, file, budget, level, path)
        with one_line(name):
            members = read_directory(file)
        for member in members:
            self._list(member.name, member.size, member)
        budget.declare(name, sum(member.size for member in members))

    @cached_property
    def _by_zipfile(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self._file)

    def _let_go(self) -> None:
        super()._let_go()
        self.__dict__.pop("_by_zipfile", None)

    def _read(self, handle: Member, size: int) -> bytes:
        data = read_member(self._file, handle)
        if data is not None:
            return data
        infos = {info.header_offset: info for info in self._by_zipfile.infolist()}
        with self._by_zipfile.open(infos[handle.offset]) as file:
            return file.read(size + 1)  # a bounded read unpacks no more than asked, whatever the stream holds

    def _open_file(self, entry: Entry) -> BinaryIO:
        member = self._files[entry.name][1]
        if member.method != zipfile.ZIP_STORED or member.packed_bytes != member.size:
            return super()._open_file(entry)
        return Window(self._file, data_start(self._file, member), member.size)

    def _checksum(self, handle: Member) -> str:
        return f"{handle.crc:08x}"


class _TarSource(_FileSource):
    def __init__(self, name: str, file: BinaryIO, budget: Budget, path: Path, compressed: bool):
        super().__init__(name, file, budget, 1, path)
        self._temporary: Path | None = None  # only the source that unpacked it removes it, no part
        try:
            with one_line(name):
                if compressed:
                    self._path = self._temporary = unpack(file, name, budget.max_bytes)
                    file.close()
                    self._opened = None
                members = tar_directory(self._file)
            for member in members:
                self._list(member.name, member.size, member)
            budget.declare(name, sum(member.size for member in members))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        temporary = self._temporary
        super().close()
        if temporary is not None:
            temporary.unlink(missing_ok=True)

    def _let_go(self) -> None:
        super()._let_go()
        self._temporary = None

    def _read(self, handle: TarMember, size: int) -> bytes:
        self._file.seek(handle.offset)
        return self._file.read(size)

    def _open_file(self, entry: Entry) -> BinaryIO:
        member = self._files[entry.name][1]
        return Window(self._file, member.offset, member.size)

    def _checksum(self, handle: TarMember) -> str:
        return _crc(Window(self._file, handle.offset, handle.size))


class _RarSource(Source):
    def __init__(self, name: str, file: BinaryIO, budget: Budget, level: int, path: Path | None):
        super().__init__(name, budget, level)
        self._file, self._path = file, path
        with one_line(name):
            self._rar = open_rar(file)
        infos = self._rar.infolist()
        for info in infos:
            self._list(info.filename, info.file_size, info.filename)
        budget.declare(name, sum(info.file_size for info in infos))
        with one_line(name):
            require_extractor(self._rar)

    @property
    def _archive(self) -> rarfile.RarFile:
        return self._rar if self._rar is not None else _reopened_rar(self._path)._rar

    def close(self) -> None:
        if self._rar is not None:
            self._rar.close()
            self._file.close()

    def _let_go(self) -> None:
        self._rar = self._file = None

    def _read(self, handle: str, size: int) -> bytes:
        with self._archive.open(handle) as file:
            return file.read(size + 1)

    def _checksum(self, handle: str) -> str:
        info = self._archive.getinfo(handle)
        return f"{info.CRC:08x}" if info.CRC is not None else (info.blake2sp_hash or b"").hex()


@lru_cache(maxsize=1)  # a process reads many parts of one archive, and each would list it from end to end
def _reopened_rar(path: Path) -> Source:
    return open_source(path, sys.maxsize)  # what it declares was counted when it was opened first
