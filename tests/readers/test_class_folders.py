"""A folder per class: classes whatever lies round them, what is left out and why, places and names."""

import io
import math
import pickle
from collections import Counter
from functools import partial

import numpy as np
import pytest
import tifffile
from PIL import Image

from sarship.archives import open_source
from sarship.chip import Chip
from sarship.command import UserError
from sarship.pool import Pool
from sarship.readers import EMPTY, UNREADABLE, Rejected, read_whole
from sarship.readers.class_folders import CHIPS_PER_PART, ClassFolderReader
from sarship.scene_sets import SCENE_SETS, SceneSet
from tests.official import rar_bytes, write_files, zip_bytes
from tests.tars import tar_bytes

READER = ClassFolderReader("Mine")


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (9, 8, 3), dtype=np.uint8)


def image(seed: int, kind: str = "PNG", *shape: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(seed, *shape)).save(file, kind)
    return file.getvalue()


def geotiff(seed: int, east_m: float, north_m: float, bands: int = 13) -> bytes:
    """64 x 64 pixels of 10 m in UTM 32 north, with its north-west corner there."""
    values = np.random.default_rng(seed).integers(0, 3000, (64, 64, bands), dtype=np.uint16)
    directory = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, east_m, north_m, 0.0), True),
        (34735, "H", len(directory), directory, True),
    ]
    file = io.BytesIO()
    options = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
    tifffile.imwrite(file, values, extratags=tags, **options)
    return file.getvalue()


TREE = {
    "forest/a.png": image(1),
    "forest/forest_b.jpg": image(2, "JPEG"),
    "harbour/a.tif": image(3, "TIFF"),
    "harbour/Harbour7.bmp": image(4, "BMP"),
}


def below(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}" if folder else name: data for name, data in files.items()}


def read(path, reader=READER) -> list:
    with open_source(path, max_bytes=1 << 30) as source:
        return list(read_whole(reader, source))


def read_files(tmp_path, files: dict[str, bytes], reader=READER) -> list:
    path = tmp_path / "set.zip"
    path.write_bytes(zip_bytes(files))
    return read(path, reader)


# -- what is read


@pytest.mark.parametrize("form", ["folder", "zip", "rar", "tar.gz"])
@pytest.mark.parametrize("wrapper", ["", "UCMerced_LandUse/Images", "ds/images/tif"])
def test_the_class_is_the_folder_whatever_lies_round_it(tmp_path, form, wrapper):
    files = below(wrapper, TREE)
    path = tmp_path / f"set.{form}"
    if form == "folder":
        write_files(path, files)
    else:
        path.write_bytes(
            {"zip": zip_bytes, "rar": rar_bytes, "tar.gz": partial(tar_bytes, compression="gz")}[form](files)
        )
    found = read(path)
    assert [(chip.category, chip.name) for chip in found] == [
        ("forest", "forest_a"),
        ("forest", "forest_b"),
        ("harbour", "Harbour7"),
        ("harbour", "harbour_a"),
    ]
    np.testing.assert_array_equal(found[0].pixels, pixels(1))
    np.testing.assert_array_equal(found[3].pixels, pixels(3))
    assert [chip.source for chip in found] == [f"set.{form}/{name}" for name in sorted(files)]


def test_a_chip_has_all_that_is_known(tmp_path):
    chip = read_files(tmp_path, TREE, ClassFolderReader("UCMerced", known=SCENE_SETS["UCMerced"]))[0]
    described = {name: value for name, value in vars(chip).items() if name != "pixels"}
    unknown = {name: described.pop(name) for name in ("row_spacing_m", "col_spacing_m", "length_m", "width_m")}
    assert described == {
        "name": "forest_a",
        "dataset": "UCMerced",
        "category": "forest",
        "subcategory": "",
        "vessel": "",
        "scene": "",
        "sensor": "USGS aerial imagery",
        "product": "",
        "polarization": "",
        "source": "set.zip/forest/a.png",
    }
    assert all(map(math.isnan, unknown.values()))


def test_grey_images_and_grey_chips(tmp_path, capsys):
    files = {"a/1.png": image(1), "b/1.png": image(2, "PNG", 9, 8), "b/2.bmp": image(3, "BMP", 9, 8)}
    found = read_files(tmp_path, files)
    assert [chip.pixels.shape for chip in found] == [(9, 8, 3)] * 3
    assert capsys.readouterr().err == "set.zip: 2 grey images were repeated into three bands\n"
    found = read_files(tmp_path, files, ClassFolderReader("Mine", "grey"))
    assert [chip.pixels.shape for chip in found] == [(9, 8)] * 3
    assert capsys.readouterr().err == "set.zip: 1 colour images were made grey (ITU-R 601)\n"


def test_conversions_are_counted_in_a_line_each(tmp_path, capsys):
    file = io.BytesIO()
    Image.fromarray(pixels(5)).convert("CMYK").save(file, "JPEG")
    palette = io.BytesIO()
    Image.fromarray(pixels(6)).quantize(8).save(palette, "PNG")
    deep = io.BytesIO()
    tifffile.imwrite(deep, pixels(7).astype(np.uint16) * 257, photometric="rgb")
    files = {"a/cmyk.jpg": file.getvalue(), "a/palette.png": palette.getvalue(), "b/deep.tif": deep.getvalue()}
    found = read_files(tmp_path, files)
    np.testing.assert_array_equal(found[2].pixels, pixels(7))
    assert capsys.readouterr().err.splitlines() == [
        "set.zip: 1 CMYK images were converted to RGB, without a colour profile",
        "set.zip: 1 palette images were converted to their colours",
        "set.zip: 1 images of more than 8 bits were scaled to 8",
    ]


def test_white_is_that_of_the_set_unless_another_is_given(tmp_path):
    deep = io.BytesIO()
    values = np.array([[0, 1000, 2000, 4000]], np.uint16)
    tifffile.imwrite(deep, values, photometric="minisblack")
    known = SceneSet("Mine", "mine.zip", None, None, None, "class_folders", "", "", "", white=2000)
    for white, expected in ((None, [0, 128, 255, 255]), (4000, [0, 64, 128, 255])):
        (chip,) = read_files(tmp_path, {"a/1.tif": deep.getvalue()}, ClassFolderReader("Mine", "grey", known, white))
        np.testing.assert_array_equal(chip.pixels, [expected])
    (chip,) = read_files(tmp_path, {"a/1.tif": deep.getvalue()}, ClassFolderReader("Mine", "grey"))
    np.testing.assert_array_equal(chip.pixels, [[0, 4, 8, 16]])


# -- places


def test_images_of_one_place_are_one_scene(tmp_path):
    files = {
        "EuroSAT_MS/Forest/Forest_1.tif": geotiff(1, 345_000, 5_615_000),
        "EuroSAT_MS/Forest/Forest_2.tif": geotiff(2, 349_679, 5_619_000),  # its centre lies a metre further west
        "EuroSAT_MS/River/River_1.tif": geotiff(3, 349_681, 5_615_000),
        "EuroSAT_MS/River/River_2.jpg": image(4, "JPEG"),
    }
    found = read_files(tmp_path, files, ClassFolderReader("EuroSAT_MS", known=SCENE_SETS["EuroSAT_MS"]))
    assert [chip.scene for chip in found] == ["EPSG:32632_34_561", "EPSG:32632_34_561", "EPSG:32632_35_561", ""]
    assert [chip.row_spacing_m for chip in found[:3]] == [10] * 3 and math.isnan(found[3].col_spacing_m)
    assert found[0].pixels.shape == (64, 64, 3) and found[0].sensor == "Sentinel-2"


# -- what is left out, and what is said


def test_files_that_are_no_images_are_ignored(tmp_path, capsys):
    others = {"forest/Thumbs.db": b"x", "forest/a.png.aux.xml": b"x", "readme.txt": b"x", "forest/x.npy": b"x"}
    hidden = {".git/x.png": image(9), "forest/.ipynb_checkpoints/a-checkpoint.png": image(1), "forest/.a.png": b"x"}
    assert [chip.name for chip in read_files(tmp_path, TREE | others | hidden)] == [
        chip.name for chip in read_files(tmp_path, TREE)
    ]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stray", ["overview.png", "set/overview.png", "set/train/overview.png"])
def test_images_beside_class_folders_have_no_class(tmp_path, stray):
    found = read_files(tmp_path, below("set/train", TREE) | {stray: image(9)})
    (rejected,) = (item for item in found if isinstance(item, Rejected))
    assert (rejected.source, rejected.reason) == (f"set.zip/{stray}", UNREADABLE)
    assert "has no class" in rejected.detail
    assert len(found) == 5


def test_bad_and_empty_images_are_rejected_and_the_rest_is_read(tmp_path):
    flat = io.BytesIO()
    Image.new("RGB", (5, 5), (10, 20, 30)).save(flat, "PNG")
    animated = io.BytesIO()
    frames = [Image.fromarray(pixels(seed)) for seed in range(3)]
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    bad = {
        "forest/0.png": b"",
        "forest/1.png": b"text",
        "forest/2.png": image(1)[:100],
        "forest/3.png": flat.getvalue(),
        "forest/4.gif": animated.getvalue(),
    }
    found = read_files(tmp_path, TREE | bad)
    assert [(item.reason, item.detail) for item in found[:3]] == [
        (UNREADABLE, "has 0 bytes"),
        (UNREADABLE, "is no image of a kind that is read (JPEG, PNG, TIFF, BMP, GIF, WEBP)"),
        (UNREADABLE, "is truncated"),
    ]
    assert found[3].reason == EMPTY
    assert (found[4].reason, found[4].detail) == (UNREADABLE, "holds 3 frames")
    assert all(isinstance(item, Chip) for item in found[5:])


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("sarship.readers.class_folders.MAX_FILE_BYTES", 1000)
    found = read_files(tmp_path, {"a/1.png": image(1), "b/1.bmp": image(2, "BMP", 40, 40, 3)})
    assert isinstance(found[0], Chip) and found[1].detail == "has 4,854 bytes"


def test_classes_in_several_folders_are_joined_and_it_is_said(tmp_path, capsys):
    files = below("train", TREE) | below("test", {"forest/z.png": image(8)})
    found = read_files(tmp_path, files)
    assert Counter(chip.category for chip in found) == {"forest": 3, "harbour": 2}
    assert capsys.readouterr().err == (
        "set.zip: 1 classes lie in several folders each, which are joined (forest: test/forest, train/forest)\n"
    )


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_an_empty_class_folder_is_named_and_left_out(tmp_path, capsys, form):
    files = below("AID", TREE | {"Beach/readme.txt": b"x"}) | {"docs/x.txt": b"x"}
    path = tmp_path / f"set.{form}"
    if form == "folder":
        write_files(path, files)
        for name in ("Airport", ".cache"):
            (path / "AID" / name).mkdir()
    else:
        path.write_bytes(zip_bytes(files | {"AID/Airport/": b""}))
    assert {chip.category for chip in read(path)} == {"forest", "harbour"}
    assert capsys.readouterr().err == f"set.{form}: class folders without images, left out: AID/Airport, AID/Beach\n"


def test_a_set_that_is_not_as_published_is_warned_of(tmp_path, capsys):
    read_files(tmp_path, TREE, ClassFolderReader("AID", known=SCENE_SETS["AID"]))
    assert capsys.readouterr().err.splitlines() == [
        "set.zip: has 2 classes, AID (AID.zip) has 30",
        "set.zip: has 4 images, AID (AID.zip) has 10,000",
    ]


@pytest.mark.parametrize("files", [{}, {"readme.txt": b"x"}, {"a.png": image(1)}, {"a/b/readme.txt": b"x"}])
def test_a_source_without_class_folders_is_said(tmp_path, files):
    with pytest.raises(UserError, match=r"^set.zip: holds no folder of images .* for each class$"):
        read_files(tmp_path, files)


def test_a_name_that_says_its_class_is_left_as_it_is(tmp_path):
    files = {"Airport/airport_1.png": image(1), "Port/airport_1.png": image(2)}
    assert [chip.name for chip in read_files(tmp_path, files)] == ["airport_1", "Port_airport_1"]


def test_names_stay_unique(tmp_path):
    files = {"a/1.png": image(1), "a/1.bmp": image(2, "BMP"), "x/a/1.png": image(3), "b/a_1.png": image(4)}
    names = [item.name for item in read_files(tmp_path, files | {"b/b.png": image(5)}) if isinstance(item, Chip)]
    assert sorted(names) == ["a_1", "a_1-2", "a_1-3", "b", "b_a_1"]


# -- a list of classes


def listed(lines: str) -> dict[str, bytes]:
    files = {f"T/train/images/{number}.jpg": image(number, "JPEG") for number in (11, 12, 13)}
    return files | {"T/train/annotation.txt": lines.encode()}


def test_images_beside_a_list_have_their_classes_from_it(tmp_path):
    files = listed("ImageID\tClassID\r\n11\tcatedral\r\n12\tmasia_freixa\r\n\r\n")
    found = read_files(tmp_path, files | below("T/more", TREE))
    assert [item.category for item in found if isinstance(item, Chip)][-2:] == ["catedral", "masia_freixa"]
    (rejected,) = (item for item in found if isinstance(item, Rejected))
    assert rejected.source == "set.zip/T/train/images/13.jpg" and "not in their list" in rejected.detail


@pytest.mark.parametrize("line", ["11", "11\t../up", "11\t.hidden", "11\ta/b", "11\t\x07"])
def test_a_list_that_is_none_is_one_line(tmp_path, line):
    with pytest.raises(UserError, match=r"^set.zip/T/train/annotation.txt: line 3 is no identifier and class name"):
        read_files(tmp_path, listed(f"ImageID\tClassID\n12\tcatedral\n{line}\n"))


# -- parts


def work(part) -> tuple[list, Counter]:
    tally = Counter()
    return list(part.chips(tally)), tally


def facts(item) -> tuple:
    return tuple(map(str, vars(item).values())) if isinstance(item, Rejected) else (item.name, item.fingerprint())


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_parts_are_the_same_in_any_number_of_processes(tmp_path, form):
    files = {f"{name}/{number:03}.png": image(number, "PNG", 9, 8) for name in "ab" for number in range(40)}
    files["b/bad.png"] = b"x"
    path = tmp_path / f"set.{form}"
    path.write_bytes({"zip": zip_bytes, "tar.gz": partial(tar_bytes, compression="gz")}[form](files))
    results = []
    for workers in (1, 2):
        with open_source(path, 1 << 30) as source, Pool(work, workers) as pool:
            parts = list(READER.parts(source))
            assert [len(part.classes) for part in parts] == [CHIPS_PER_PART, CHIPS_PER_PART, 81 - 2 * CHIPS_PER_PART]
            assert max(len(pickle.dumps(part)) for part in parts) < 20_000
            done = [result for _, result in pool.map((None, part) for part in parts)]
        results.append(([facts(item) for items, _ in done for item in items], sum((t for _, t in done), Counter())))
    assert results[0] == results[1]
    assert len(results[0][0]) == 81 and list(results[0][1].values()) == [80]


# -- real images


def test_real_eurosat(real_data, capsys):
    reader = ClassFolderReader("EuroSAT", known=SCENE_SETS["EuroSAT"])
    found = read(real_data / "scenes" / "EuroSAT_subset.zip", reader)
    names = "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
    assert Counter(chip.category for chip in found) == dict.fromkeys(names.split(), 400)
    assert {chip.pixels.shape for chip in found} == {(64, 64, 3)}
    assert len({chip.name for chip in found}) == 4000 and found[0].name.startswith("AnnualCrop_")
    assert capsys.readouterr().err == "EuroSAT_subset.zip: has 4,000 images, EuroSAT (EuroSAT_RGB.zip) has 27,000\n"


def test_real_uc_merced(real_data):
    found = read(real_data / "scenes" / "UCMerced_LandUse_subset.zip", ClassFolderReader("UCMerced"))
    assert set(Counter(chip.category for chip in found).values()) == {40} and len(found) == 840
    shapes = {chip.pixels.shape for chip in found}
    assert (256, 256, 3) in shapes and all(abs(rows - 256) <= 14 and abs(cols - 256) <= 14 for rows, cols, _ in shapes)
