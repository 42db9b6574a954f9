"""Pictures inside the page: small, sound, as they were drawn."""

import io
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from sarship.command import UserError
from sarship.report.pictures import Embedded, embed
from tests.report.sample import SHEET


def decoded(picture: Embedded) -> Image.Image:
    header, data = picture.uri.split(",")
    assert header == "data:image/webp;base64"
    return Image.open(io.BytesIO(b64decode(data)))


def test_a_large_picture_is_scaled_down_and_a_small_one_left_alone(tmp_path):
    path = tmp_path / "sheet.png"
    Image.effect_noise((900, 300), 60).save(path)
    assert decoded(embed(path, 300)).size == (300, 100)
    assert decoded(embed(path, 1600)).size == (900, 300)
    assert (embed(path, 300).width, embed(path, 300).height) == (300, 100)


def test_a_small_picture_keeps_every_pixel(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "chip.png")
    assert np.array_equal(np.asarray(decoded(embed(tmp_path / "chip.png", 1600))), pixels)


def test_a_contact_sheet_becomes_far_smaller_and_looks_the_same():
    picture = embed(SHEET, 1600)
    assert len(picture.uri) < SHEET.stat().st_size / 3
    original = np.asarray(Image.open(SHEET).convert("RGB"), dtype=float)
    difference = np.asarray(decoded(picture).convert("RGB"), dtype=float) - original
    assert np.sqrt((difference**2).mean()) < 5  # of 255


def test_transparent_parts_are_paper(tmp_path):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert decoded(embed(tmp_path / "clear.png", 1600)).convert("RGB").getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_usual_mode_is_read(tmp_path, mode):
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    Image.new(mode, (5, 7)).save(path)
    assert decoded(embed(path, 1600)).size == (5, 7)


def test_metadata_stay_out(tmp_path):
    image = Image.new("RGB", (8, 8))
    exif = image.getexif()
    exif[0x013C] = "secret-host"  # HostComputer
    image.save(tmp_path / "photo.png", exif=exif)
    assert b"secret-host" in (tmp_path / "photo.png").read_bytes()
    assert b"secret-host" not in b64decode(embed(tmp_path / "photo.png", 1600).uri.split(",")[1])


def test_a_lost_picture_is_named(tmp_path):
    with pytest.raises(UserError, match=r"lost\.png: is not there"):
        embed(tmp_path / "lost.png", 1600)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "folder"])
def test_a_damaged_picture_is_named(tmp_path, damage):
    path = tmp_path / "damaged.png"
    if damage == "folder":
        path.mkdir()
    else:
        sound = SHEET.read_bytes()
        path.write_bytes({"empty": b"", "text": b"no picture", "cut": sound[: len(sound) // 2]}[damage])
    with pytest.raises(UserError, match=r"damaged\.png: is no image"):
        embed(path, 1600)
