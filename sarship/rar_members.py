"""The directory of a rar archive, checked; the rarfile library reads it, and the members."""

from collections import Counter
from typing import BinaryIO

import rarfile

from sarship.zip_members import MAX_ENTRIES, TOO_MANY, Unfit


def open_rar(file: BinaryIO) -> rarfile.RarFile:
    """The archive in an open file.

    Raises Unfit for one that is encrypted, holds a link or too many entries; EOFError for one cut between two members;
    what rarfile raises on bytes that are no rar.
    """
    blocks: Counter[int] = Counter()

    def count(block: rarfile.RarInfo) -> None:
        blocks[block.type] += 1
        if blocks[rarfile.RAR_BLOCK_FILE] > MAX_ENTRIES:
            raise Unfit(TOO_MANY)

    # An open file, never a path: rarfile would go on to the next volume, a file that the user did not name.
    rar = rarfile.RarFile(file, errors="strict", info_callback=count)
    if rar.needs_password():
        raise Unfit("is encrypted; repack the archive without a password")
    # Every RAR since 3.0 (2002) closes with this block, and rarfile takes a file cut between blocks for whole.
    if rarfile.RAR_BLOCK_ENDARC not in blocks:
        raise EOFError("the end-of-archive block is missing")
    for info in rar.infolist():
        if info.is_symlink() or info.file_redir:
            raise Unfit(info.filename, "is a link; repack the archive without it")
    return rar


def require_extractor(rar: rarfile.RarFile) -> None:
    """Raises rarfile.RarCannotExec if a member is compressed and there is no program to unpack it."""
    if any(info.compress_type != rarfile.RAR_M0 and not info.is_dir() for info in rar.infolist()):
        rarfile.tool_setup(force=True)  # looks again: rarfile remembers its first answer for the whole process
