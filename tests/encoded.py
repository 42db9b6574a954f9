"""Images in many encodings, some by hand: what decoding is tested on."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from sarship.readers.images import ImageError, decode_image

RANDOM = np.random.default_rng(5)
RGB = RANDOM.integers(0, 256, (20, 31, 3), dtype=np.uint8)
GREY = RANDOM.integers(0, 256, (20, 31), dtype=np.uint8)
SMOOTH = np.stack([np.add.outer(np.arange(40) * k, np.arange(50) * 2) for k in (1, 2, 3)], axis=-1).astype(np.uint8)
DEEP_GREY = RANDOM.integers(0, 65536, (20, 31), dtype=np.uint16)
DEEP_RGB = RANDOM.integers(0, 65536, (20, 31, 3), dtype=np.uint16)
SENTINEL = RANDOM.integers(0, 4000, (16, 17, 13), dtype=np.uint16)


def by_pillow(pixels, kind: str, mode: str | None = None, **options) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def by_tifffile(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, metadata=None, **options)
    return file.getvalue()


def png(depth: int, colour: int, rows: int, cols: int, data: bytes = b"", *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand; data: what stands in IDAT, not yet compressed."""
    header = struct.pack(">LLBBBBB", cols, rows, depth, colour, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n"
    for name, content in [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]:
        file += struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))
    return file


def deep_png(pixels: np.ndarray) -> bytes:
    colour = {(): 0, (2,): 4, (3,): 2, (4,): 6}[pixels.shape[2:]]
    lines = pixels.astype(">u2").reshape(len(pixels), -1)
    return png(16, colour, *pixels.shape[:2], b"".join(b"\0" + line.tobytes() for line in lines))


def error_of(data: bytes, **options) -> str:
    with pytest.raises(ImageError) as caught:
        decode_image(data, **options)
    text = str(caught.value)
    assert text and "\n" not in text
    return text


ENCODED = {
    "png": by_pillow(RGB, "PNG"),
    "palette": by_pillow(Image.fromarray(GREY % 7, "P"), "PNG"),
    "interlaced": by_pillow(Image.fromarray(RGB), "PNG", interlace=True),
    "deep png": deep_png(DEEP_RGB),
    "jpeg": by_pillow(SMOOTH, "JPEG"),
    "progressive": by_pillow(SMOOTH, "JPEG", progressive=True),
    "bmp": by_pillow(RGB, "BMP"),
    "gif": by_pillow(GREY, "GIF"),
    "webp": by_pillow(SMOOTH, "WEBP"),
    "tiff": by_pillow(RGB, "TIFF"),
    "lzw": by_pillow(RGB, "TIFF", compression="tiff_lzw"),
    "jpeg in tiff": by_pillow(SMOOTH, "TIFF", compression="jpeg"),
    "deep tiff": by_tifffile(DEEP_RGB, photometric="rgb", rowsperstrip=7),
    "deep deflated": by_tifffile(DEEP_RGB, photometric="rgb", rowsperstrip=7, compression="deflate"),
    "sentinel": by_tifffile(SENTINEL, photometric="minisblack", planarconfig="contig", compression="lzw"),
}
