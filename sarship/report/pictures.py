"""Image files as data URIs: a page that carries its pictures with it."""

import io
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sarship.command import UserError

# Contact sheets of 1361 x 617 pixels took 331 kB as PNG, 220 kB as lossless WebP and 63 kB as WebP of this quality,
# in which speckle and small type still look the same.
QUALITY = 90
SMALL_BYTES = 20_000  # below it, every pixel is worth keeping


@dataclass(frozen=True)
class Embedded:
    """An image as a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


def embed(path: Path, most_pixels: int) -> Embedded:
    """The image at `path` as WebP, no side of it longer than `most_pixels`; without metadata, on white if transparent.

    Lossless where that is small or at most twice the bytes of lossy. Raises UserError if there is no sound image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            drawn = _on_white(image)
    except FileNotFoundError as error:
        raise UserError(f"{path}: is not there; make the pictures again, or leave them out") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        # Pillow raises any of these for damaged files, depending on the format.
        raise UserError(f"{path}: is no image that can be read; make the pictures again ({error})") from error
    drawn.thumbnail((most_pixels, most_pixels), Image.Resampling.LANCZOS)
    encoded = _encode(drawn)
    return Embedded(f"data:image/webp;base64,{b64encode(encoded).decode('ascii')}", *drawn.size)


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("L" if image.mode in ("1", "L") else "RGB")
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")


def _encode(image: Image.Image) -> bytes:
    lossless = _webp(image, lossless=True)
    if len(lossless) <= SMALL_BYTES:
        return lossless
    lossy = _webp(image, quality=QUALITY)
    return lossless if len(lossless) <= 2 * len(lossy) else lossy


def _webp(image: Image.Image, **options) -> bytes:
    written = io.BytesIO()
    image.save(written, "WEBP", method=4, **options)
    return written.getvalue()
