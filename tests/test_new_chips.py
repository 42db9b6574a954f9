"""New images on their way to a network: found in whatever they lie in, brought to size and scale, a few at a time."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sarship import new_chips
from sarship.geometry import metric_chip, resized_chip
from sarship.new_chips import Found, Framing, NewChip, Scale, Unread, find_images, read_chips
from sarship.readers import Note
from tests.official import below, chip_pixels, scene_files, tiff_bytes, write_files, zip_bytes

SIDE = 32
PLENTY = 1 << 33


def image_bytes(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def framed(framing: Framing, data: bytes, name: str = "chip") -> NewChip | Unread:
    return framing(Found(name, data))


def names_in(path: Path, kind: type) -> list[str]:
    """Names of what is found there of one kind, without the path itself."""
    found = [item for item in find_images(path, PLENTY) if isinstance(item, kind)]
    return [item.name.removeprefix(f"{path}/") for item in found]


# -- what is found


def test_in_folders_and_archives_images_are_known_by_their_suffix(tmp_path):
    image = image_bytes(chip_pixels(0))
    files = {
        "b/2.PNG": image,
        "b/1.tif": image,
        "a.jpeg": image,
        "readme.txt": b"x",
        ".c/3.png": image,
        "b/Thumbs.db": b"x",
    }
    folder = write_files(tmp_path / "folder", files)
    (tmp_path / "a.zip").write_bytes(zip_bytes(files))
    (tmp_path / "zip_without_suffix").write_bytes(zip_bytes(files))
    for mode, name in (("w", "a.tar"), ("w:gz", "a.tgz")):
        with tarfile.open(tmp_path / name, mode) as archive:
            for inside in files:
                archive.add(folder / inside, inside)
    for path in (folder, *(tmp_path / name for name in ("a.zip", "zip_without_suffix", "a.tar", "a.tgz"))):
        assert names_in(path, Found) == ["a.jpeg", "b/1.tif", "b/2.PNG"]
        notes = [item.text for item in find_images(path, PLENTY) if isinstance(item, Note)]
        assert notes == [f"{path}: 2 files are left out, hidden or without the suffix of an image"]
    assert names_in(folder / "readme.txt", Found) == [str(folder / "readme.txt")], "what is named is tried"


def test_archives_inside_are_opened_and_what_is_bad_is_named(tmp_path):
    image = image_bytes(chip_pixels(0))
    inside = {"x.png": image, "c/d.zip": b"PK", "e.zip": zip_bytes({"y.png": image}), "f.zip": zip_bytes({"z": b""})}
    (tmp_path / "some.zip").write_bytes(zip_bytes(inside))
    assert names_in(tmp_path / "some.zip", Found) == ["e.zip/y.png", "x.png"]
    assert names_in(tmp_path / "some.zip", Unread) == ["c/d.zip", "f.zip"]


def test_a_damaged_entry_is_named_and_the_others_come(tmp_path):
    images = {f"{index}.png": image_bytes(chip_pixels(index)) for index in range(3)}
    data = zip_bytes(images, zipfile.ZIP_STORED).replace(images["1.png"][-40:-20], bytes(20))
    (tmp_path / "some.zip").write_bytes(data)
    assert names_in(tmp_path / "some.zip", Found) == ["0.png", "2.png"]
    assert names_in(tmp_path / "some.zip", Unread) == ["1.png"]


def test_more_than_may_be_unpacked_is_refused(tmp_path):
    (tmp_path / "some.zip").write_bytes(zip_bytes({"a.png": bytes(5000)}))
    (item,) = find_images(tmp_path / "some.zip", 4000)
    assert isinstance(item, Unread) and "--max-bytes" in item.reason


def test_of_an_opensarship_scene_only_the_8_bit_chips_are_read(tmp_path):
    files = scene_files(places=(("Cargo", 100, 200), ("Tanker", 7, 9)))
    patches = sorted(name for name in files if "Patch_Uint8" in name)
    for wrapped in (files, below("S1A_scene", files)):
        path = tmp_path / "scene.zip"
        path.write_bytes(zip_bytes(wrapped))
        assert [name.removeprefix("S1A_scene/") for name in names_in(path, Found)] == patches
        first, _ = (item.text for item in find_images(path, PLENTY) if isinstance(item, Note))
        assert "those in Patch_Uint8 are read" in first
    mine = write_files(tmp_path / "mine", {"Patch/a.tif": tiff_bytes(chip_pixels(1))})
    assert names_in(mine, Found) == ["Patch/a.tif"], "a folder that happens to have the name"


def test_a_name_that_is_no_text_can_be_printed_all_the_same(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/chip\xff.png"))
    path.write_bytes(image_bytes(chip_pixels(0)))
    (found,) = find_images(path, PLENTY)
    assert found.name == f"{tmp_path}/chip\\udcff.png" and found.data


# -- what becomes of it


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_any_image_that_loses_nothing_gives_the_same_chip(kind):
    pixels, options = chip_pixels(0, SIDE), {"lossless": True} if kind == "WEBP" else {}
    for same in (pixels, np.stack([pixels] * 3, axis=-1)):
        chip = framed(Framing(SIDE, "grey"), image_bytes(same, kind, **options))
        assert (chip.pixels == pixels).all() and not chip.is_resized
    colour = framed(Framing(SIDE, "rgb"), image_bytes(pixels, kind, **options))
    assert (colour.pixels == pixels[:, :, None]).all() and colour.pixels.shape == (SIDE, SIDE, 3)


def test_16_bit_pixels_are_scaled_and_float_ones_refused():
    pixels = chip_pixels(0, SIDE)
    file = io.BytesIO()
    tifffile.imwrite(file, pixels.astype(np.uint16) * 257)
    assert (framed(Framing(SIDE, "grey"), file.getvalue()).pixels == pixels).all()
    refused = framed(Framing(SIDE, "grey"), tiff_bytes(pixels.astype(np.float32) / 100, compression=None))
    assert isinstance(refused, Unread) and refused.name == "chip" and "\n" not in refused.reason


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["grey", "rgb"]))
def test_without_a_spacing_images_are_resized_as_for_training(rows, cols, bands):
    shape = (rows, cols, 3) if bands == "rgb" else (rows, cols)
    pixels = np.random.default_rng(rows * cols).integers(0, 256, shape, np.uint8)
    for scale in (None, Scale(256.0, 8.0)):
        chip = framed(Framing(SIDE, bands, scale=scale), image_bytes(pixels))
        assert (chip.pixels == resized_chip(pixels, SIDE)).all() and chip.pixels.shape[:2] == (SIDE, SIDE)
        assert chip.is_resized == ((rows, cols) != (SIDE, SIDE))


def test_of_many_bands_those_of_colour_are_taken_as_for_training():
    bands = np.random.default_rng(0).integers(0, 2750, (SIDE, SIDE, 13)).astype(np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(file, bands, photometric="minisblack", planarconfig="contig")
    chip = framed(Framing(SIDE, "rgb", white=2750, rgb_bands=(3, 2, 1)), file.getvalue())
    assert (chip.pixels == np.rint(bands[:, :, [3, 2, 1]] / 2750 * 255)).all()
    assert isinstance(framed(Framing(SIDE, "rgb"), file.getvalue()), Unread)


def test_with_a_spacing_they_have_the_scale_of_training():
    raw = np.random.default_rng(3).integers(0, 200, (128, 96)).astype(np.uint8)  # 512 m x 480 m, more than 256 m
    chip = framed(Framing(SIDE, "grey", scale=Scale(256.0, 8.0), image_spacing_m=(4.0, 5.0)), image_bytes(raw))
    assert (chip.pixels == metric_chip(raw, (4.0, 5.0), 256.0, 8.0, seed=0)).all() and not chip.is_resized


def test_where_the_sea_is_continued_it_hangs_on_the_image_alone():
    framing = Framing(SIDE, "grey", scale=Scale(256.0, 8.0), image_spacing_m=(8.0, 8.0))
    first, second = (framed(framing, image_bytes(chip_pixels(0), kind), kind) for kind in ("PNG", "BMP"))
    other = framed(framing, image_bytes(chip_pixels(1)))
    assert (first.pixels == second.pixels).all() and (first.pixels != other.pixels).any()


# -- a few at a time


def test_images_are_decoded_a_few_ahead_and_come_in_order(tmp_path):
    count, workers, seen = 200, 3, []
    for index in range(count):
        (tmp_path / f"{index:03d}.png").write_bytes(b"%d" % index)

    def frame(found: Found) -> NewChip:
        seen.append(found.name)
        return NewChip(found.name, np.full((2, 2), int(found.data), np.uint8), False)

    chips = read_chips([tmp_path], frame, PLENTY, workers)
    for index in range(10):
        assert next(chips).pixels[0, 0] == index
        assert len(seen) <= index + 1 + workers
    assert [chip.name for chip in chips] == [str(tmp_path / f"{index:03d}.png") for index in range(10, count)]


def test_no_more_files_are_held_than_are_decoded(tmp_path, monkeypatch):
    alive, most = set(), 0

    class Bytes(bytes):
        def __del__(self):
            alive.discard(id(self))

    def counted(source, entry):
        nonlocal most
        data = Bytes(read(source, entry))
        alive.add(id(data))
        most = max(most, len(alive))
        return data

    read = new_chips.Source.read
    monkeypatch.setattr(new_chips.Source, "read", counted)
    image = image_bytes(chip_pixels(0, SIDE))
    (tmp_path / "many.zip").write_bytes(zip_bytes({f"{index}.png": image for index in range(150)}))
    items = read_chips([tmp_path / "many.zip"], Framing(SIDE, "grey"), PLENTY, workers=2)
    assert sum(isinstance(item, NewChip) for item in items) == 150
    assert 0 < most <= 6


# -- real images


def test_real_scenes_are_read_in_colour(real_data):
    items = read_chips([real_data / "scenes" / "UCMerced_LandUse_subset.zip"], Framing(64, "rgb"), PLENTY, 2)
    chips = [item for item in items if isinstance(item, NewChip)]
    assert len(chips) == 840 and {chip.pixels.shape for chip in chips} == {(64, 64, 3)}
