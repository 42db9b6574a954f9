"""Tiny sets of scenes in class folders: each class has a colour and a texture of its own."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("Forest", "River", "Town")
COLOURS = {"Forest": (40, 110, 50), "River": (40, 70, 150), "Town": (150, 140, 130)}


def scene(name: str, size: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """(rows, cols, 3) uint8: noise round the class's colour, and streets in towns."""
    pixels = np.clip(np.array(COLOURS[name]) + generator.normal(0, 25, (*size, 3)), 0, 255).astype(np.uint8)
    if name == "Town":
        pixels[:: max(2, size[0] // 4)] = 230
    return pixels


def encoded(pixels: np.ndarray, form: str = "PNG", **options) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def files(
    counts: Mapping[str, int], size: int = 40, seed: int = 0, wrapper: str = "Set/Images", form: str = "PNG"
) -> dict[str, bytes]:
    """Content by name of an archive with so many images of each class; one of the first class is a pixel short."""
    generator = np.random.default_rng(seed)
    content = {}
    for name, count in counts.items():
        for index in range(count):
            is_odd = name == next(iter(counts)) and index == 0
            shape = (size - is_odd, size)
            content[f"{wrapper}/{name}/{name.lower()}{index:02d}.{form.lower()}"] = encoded(
                scene(name, shape, generator), form
            )
    return content


def zipped(path: Path, content: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path
