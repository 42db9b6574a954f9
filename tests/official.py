"""Tiny archives in the official layouts, written by hand: what the readers are tested on besides real data."""

import io
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import tifffile

from sarship.archives import Source, is_archive

GRD_DUAL = "S1A_IW_GRDH_1SDV_20150823T221233_20150823T221258_007396_00A2CA_54D0"
GRD_SINGLE = "S1A_IW_GRDH_1SSV_20160131T204259_20160131T204324_009743_00E3C6_E792"
SLC_DUAL = "S1A_IW_SLC__1SDV_20160606T221231_20160606T221258_011596_011B8A_3FF3"

META_HEADER = "id,mmsi,length,width,polarMode,centerLookAngle,heightspace,widthspace,path"


def tiff_bytes(pixels: np.ndarray, compression: str | None = "packbits", **options) -> bytes:
    """A one-page TIFF; the official 8-bit chips are compressed with PackBits, the float ones not at all."""
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, compression=compression, metadata=None, **options)
    return file.getvalue()


def chip_pixels(seed: int, side: int = 21) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


def zip_bytes(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return file.getvalue()


def zip_with_link(name: str, target: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, target)
    return file.getvalue()


def patched(data: bytes, offset: int, layout: str, value: int) -> bytes:
    """`data` with one number overwritten."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, offset, value)
    return bytes(changed)


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


# -- what is read back


def contents(source: Source) -> dict[str, bytes]:
    return {entry.name: source.read(entry) for entry in source.entries()}


def innermost(source: Source, stack: list[Source]) -> None:
    """Open archives inside one another as far as they go, onto `stack`."""
    stack.append(source)
    for entry in source.entries():
        if is_archive(entry.name):
            innermost(source.open_nested(entry), stack)


# -- RAR 5, stored entries only: the format's technical note, https://www.rarlab.com/technote.htm

_SIGNATURE = b"Rar!\x1a\x07\x01\x00"
_MAIN, _FILE, _ENCRYPTION, _END = 1, 2, 4, 5
_HAS_EXTRA, _HAS_DATA = 1, 2
_FILE_HAS_CRC = 4


def rar_bytes(
    files: dict[str, bytes],
    *,
    encrypted: bool = False,
    encrypted_names: bool = False,
    end: bool = True,
    next_volume: bool = False,
    declared_bytes: int | None = None,
    method: int = 0,
) -> bytes:
    """A RAR 5 archive; method 0 is stored, with any other only the header says that the data are compressed."""
    blocks = [_SIGNATURE]
    if encrypted_names:
        blocks.append(_block(_ENCRYPTION, b"", _vint(0) + _vint(0) + b"\x0f" + bytes(16)))
    blocks.append(_block(_MAIN, b"", _vint(1 if next_volume else 0)))
    for name, data in files.items():
        size = len(data) if declared_bytes is None else declared_bytes
        fields = _vint(_FILE_HAS_CRC) + _vint(size) + _vint(0o100644) + struct.pack("<L", zlib.crc32(data))
        fields += _vint(method << 7) + _vint(1) + _vint(len(name.encode())) + name.encode()
        record = _vint(1) + _vint(0) + _vint(0) + b"\x0f" + bytes(32)  # AES-256, no check value, 2**15 rounds
        extra = _vint(len(record)) + record if encrypted else b""
        blocks.append(_block(_FILE, data, fields, extra))
    if end:
        blocks.append(_block(_END, b"", _vint(1 if next_volume else 0)))
    return b"".join(blocks)


def _block(kind: int, data: bytes, fields: bytes, extra: bytes = b"") -> bytes:
    flags = (_HAS_EXTRA if extra else 0) | (_HAS_DATA if kind == _FILE else 0)
    header = _vint(kind) + _vint(flags)
    header += _vint(len(extra)) if extra else b""
    header += _vint(len(data)) if kind == _FILE else b""
    header += fields + extra
    sized = _vint(len(header)) + header
    return struct.pack("<L", zlib.crc32(sized)) + sized + data


def _vint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


# -- OpenSARShip


def ship_block(x: int, y: int, mmsi: str = "413338000", **fields: str) -> str:
    values = {"Center_x": x, "Center_y": y, "Incidence": "30.000000", "MMSI": mmsi, "Name": "A & B <C>"}
    values |= {"Length": "190", "Width": "32", "Elaborated_type": "Bulk Carrier"} | fields
    lines = "".join(f"\t\t<{name}>{value}</{name}>\r\n" for name, value in values.items() if value is not None)
    return f"\t<ship>\r\n{lines}\t</ship>\r\n"


def ship_xml(*blocks: str) -> bytes:
    """As release 2 has it: not well-formed at its end."""
    return ('<?xml version="1.0" encoding="UTF-8"?>\r\n<ShipList>\r\n' + "".join(blocks) + "<\\ShipList>").encode()


def product_xml(product: str, range_spacing: str = "10.0", azimuth_spacing: str = "10.00878") -> bytes:
    values = {"PRODUCT": product, "range_spacing": range_spacing, "azimuth_spacing": azimuth_spacing}
    attributes = "".join(f'<attrib name="{name}" value="{value}" type="41" />\n' for name, value in values.items())
    return f"<Metadata>\n{attributes}{attributes.replace('10.0', '77.7')}</Metadata>".encode()


def scene_files(
    product: str = GRD_DUAL, places: tuple = (("Cargo", 100, 200),), **ship_fields: str
) -> dict[str, bytes]:
    """A scene of release 2: per (type, x, y) the chips of both kinds, a figure in Patch_RGB, and its AIS block.

    Sigma nought is a hundredth of the 8-bit value.
    """
    files = {"Ship.xml": ship_xml(*(ship_block(x, y, **ship_fields) for _, x, y in places))}
    files[f"{product}.xml"] = product_xml(product)
    dual = "1SDV" in product
    suffixes = ("_vh", "_vv") if dual else ("",)
    for kind, x, y in places:
        bands = {suffix: chip_pixels(x + y + index) for index, suffix in enumerate(suffixes)}
        for suffix, pixels in bands.items():
            files[f"Patch_Uint8/Visual_{kind}_x{x}_y{y}{suffix}.tif"] = tiff_bytes(pixels)
            files[f"Patch_RGB/Visual_{kind}_x{x}_y{y}{suffix}.tif"] = b"\x89PNG a figure"
        sigma0 = np.stack([pixels.astype(np.float32) / 100 for pixels in bands.values()], axis=-1)
        calibrated = sigma0 if dual else sigma0[:, :, 0]
        options = {"photometric": "minisblack", "planarconfig": "contig"} if dual else {}
        files[f"Patch_Cal/{kind}_x{x}_y{y}.tif"] = tiff_bytes(calibrated, compression=None, **options)
    return files


def below(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in files.items()}


# -- FUSAR-Ship


def meta_csv(*rows: str) -> bytes:
    return "\r\n".join([META_HEADER, *rows, ""]).encode()


def fusar_files(*chips: tuple[str, str], rows: tuple[str, ...] | None = None) -> dict[str, bytes]:
    """FUSAR-Ship with a chip per (folders, name), e.g. ("Cargo/BulkCarrier", "Ship_C01S01N0001"), and meta.csv."""
    files = {
        f"FUSAR_Ship1.0/{folder}/{name}.tiff": tiff_bytes(chip_pixels(index))
        for index, (folder, name) in enumerate(chips)
    }
    if rows is None:
        rows = tuple(
            f"{name},41333800{index},190,32,HH,33.5,1.7306,1.1242," + folder.replace("/", "\\")
            for index, (folder, name) in enumerate(chips)
        )
    return files | {"FUSAR_Ship1.0/meta.csv": meta_csv(*rows)}
