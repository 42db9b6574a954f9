"""Tar archives of a few files."""

import io
import tarfile

COMPRESSIONS = ["", "gz", "bz2", "xz"]


def tar_bytes(files: dict[str, bytes], compression: str = "", kind: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar; a name with "/" at its end is a folder."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{compression}", format=kind) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()
