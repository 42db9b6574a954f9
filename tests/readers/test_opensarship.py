"""OpenSARShip: every form in which its scenes come gives the same chips, with all that is known of them."""

import math
import re
import zipfile
from collections import Counter

import numpy as np
import pytest

from sarship.archives import open_source
from sarship.chip import Chip
from sarship.command import UserError
from sarship.readers import (
    EMPTY,
    OTHER_CLASS,
    UNREADABLE,
    WRONG_POLARIZATION,
    WRONG_PRODUCT,
    Rejected,
    UniqueNames,
)
from sarship.readers.opensarship import read_opensarship
from tests.official import (
    GRD_DUAL,
    GRD_SINGLE,
    SLC_DUAL,
    below,
    chip_pixels,
    product_xml,
    rar_bytes,
    scene_files,
    ship_block,
    ship_xml,
    tiff_bytes,
    write_files,
    zip_bytes,
)

EVERYTHING = {"polarization": "both", "product": "both"}


def read(path, **options) -> list:
    with open_source(path, max_bytes=1 << 30) as source:
        return list(read_opensarship(source, **options))


def read_files(tmp_path, files: dict[str, bytes], name: str = f"{GRD_DUAL}.zip", **options) -> list:
    (tmp_path / name).write_bytes(zip_bytes(files))
    return read(tmp_path / name, **options)


def chips_of(items: list) -> list[Chip]:
    return [item for item in items if isinstance(item, Chip)]


def reasons_of(items: list) -> Counter:
    return Counter(item.reason for item in items if isinstance(item, Rejected))


# -- one scene


def test_a_chip_has_all_that_the_scene_says(tmp_path):
    files = scene_files(places=(("Other Type", 100, 200),), Elaborated_type="Oil/Chemical &amp; Tanker")
    items = read_files(tmp_path, files)
    (chip,) = chips_of(items)
    np.testing.assert_array_equal(chip.pixels, chip_pixels(301))
    described = {name: value for name, value in vars(chip).items() if name != "pixels"}
    assert described == {
        "name": f"{GRD_DUAL}_x100_y200_VV",
        "dataset": "OpenSARShip",
        "category": "Other Type",
        "subcategory": "Oil/Chemical & Tanker",
        "vessel": "413338000",
        "scene": GRD_DUAL,
        "sensor": "Sentinel-1",
        "product": "GRD",
        "polarization": "VV",
        "row_spacing_m": 10.00878,
        "col_spacing_m": 10.0,
        "length_m": 190.0,
        "width_m": 32.0,
        "source": f"{GRD_DUAL}.zip/Patch_Uint8/Visual_Other Type_x100_y200_vv.tif",
    }
    assert reasons_of(items) == {WRONG_POLARIZATION: 1}


def test_calibrated_pixels_are_the_band_of_the_polarization(tmp_path):
    for polarization, seed in (("vh", 300), ("vv", 301)):
        (chip,) = chips_of(read_files(tmp_path, scene_files(), pixels="calibrated", polarization=polarization))
        assert chip.polarization == polarization.upper() and chip.pixels.dtype == np.float32
        np.testing.assert_allclose(chip.pixels, chip_pixels(seed) / 100, rtol=1e-6)


@pytest.mark.parametrize("pixels", ["uint8", "calibrated"])
def test_a_scene_of_one_polarization_has_that_one(tmp_path, pixels):
    files = scene_files(GRD_SINGLE)
    (chip,) = read_files(tmp_path, files, f"{GRD_SINGLE}.zip", pixels=pixels)
    assert chip.polarization == "VV" and chip.pixels.shape == (21, 21)
    horizontal = GRD_SINGLE.replace("1SSV", "1SSH")
    items = read_files(tmp_path, scene_files(horizontal), f"{horizontal}.zip", pixels=pixels)
    assert reasons_of(items) == {WRONG_POLARIZATION: 1}
    (chip,) = read_files(tmp_path, scene_files(horizontal), f"{horizontal}.zip", pixels=pixels, polarization="both")
    assert chip.polarization == "HH"


def test_slc_range_spacing_is_projected_to_the_ground(tmp_path, capsys):
    files = scene_files(SLC_DUAL, (("Cargo", 1, 1), ("Cargo", 2, 2)))
    files["Ship.xml"] = ship_xml(ship_block(1, 1, Incidence="30.0"))
    files[f"{SLC_DUAL}.xml"] = product_xml(SLC_DUAL, "2.329562", "13.927")
    known, unknown = chips_of(read_files(tmp_path, files, f"{SLC_DUAL}.zip", product="slc"))
    assert known.product == "SLC" and known.row_spacing_m == 13.927
    assert known.col_spacing_m == pytest.approx(2 * 2.329562)  # sin 30 degrees is a half
    assert unknown.col_spacing_m == known.col_spacing_m  # that of the other ships in the scene
    assert "1 chips are not in Ship.xml" in capsys.readouterr().err


@pytest.mark.parametrize("metadata", [None, b"<Metadata/>", product_xml(GRD_DUAL, "99999.0", "99999.0")])
def test_missing_metadata_gives_the_nominal_spacing_and_it_is_said(tmp_path, capsys, metadata):
    files = scene_files()
    del files[f"{GRD_DUAL}.xml"]
    (chip,) = chips_of(read_files(tmp_path, files | ({"Metedata.xml": metadata} if metadata else {})))
    assert (chip.row_spacing_m, chip.col_spacing_m) == (10.0, 10.0)
    assert "1 chips without metadata" in capsys.readouterr().err


def test_products_and_classes_not_asked_for_are_rejected_without_decoding(tmp_path):
    files = {name: b"no TIFF" if name.endswith(".tif") else data for name, data in scene_files().items()}
    assert reasons_of(read_files(tmp_path, files, product="slc")) == {WRONG_PRODUCT: 2}
    items = read_files(tmp_path, files, wanted=lambda category, subcategory: subcategory != "Bulk Carrier")
    assert reasons_of(items) == {OTHER_CLASS: 1, WRONG_POLARIZATION: 1}
    assert reasons_of(read_files(tmp_path, files)) == {UNREADABLE: 1, WRONG_POLARIZATION: 1}


def test_a_scene_of_the_other_product_need_not_be_whole(tmp_path):
    files = scene_files()
    del files["Ship.xml"]
    assert reasons_of(read_files(tmp_path, files, product="slc")) == {WRONG_PRODUCT: 2}


def test_bad_and_empty_chips_are_rejected_and_the_rest_is_read(tmp_path):
    bad = {
        "Patch_Uint8/Visual_Cargo_x1_y1_vv.tif": b"",
        "Patch_Uint8/Visual_Cargo_x2_y2_vv.tif": b"\x89PNG in a .tif",
        "Patch_Uint8/Visual_Cargo_x3_y3_vv.tif": tiff_bytes(np.zeros((9, 9), np.uint8)),
        "Patch_Uint8/Visual_Cargo_x4_y4.tif": tiff_bytes(chip_pixels(4)),  # of which polarization?
        "Patch_Uint8/figure.tif": tiff_bytes(chip_pixels(5)),
    }
    items = read_files(tmp_path, scene_files() | bad, polarization="both")
    assert reasons_of(items) == {UNREADABLE: 4, EMPTY: 1}
    assert [chip.polarization for chip in chips_of(items)] == ["VH", "VV"]


# -- Ship.xml


@pytest.mark.parametrize("mmsi", ["0", "", "NaN", "-1"])
def test_an_unknown_vessel_is_empty_and_counted(tmp_path, capsys, mmsi):
    files = scene_files() | {"Ship.xml": ship_xml(ship_block(100, 200, mmsi), ship_block(1, 1))}
    (chip,) = chips_of(read_files(tmp_path, files))
    assert chip.vessel == "" and chip.subcategory == "Bulk Carrier"
    assert "1 chips are not in Ship.xml or without an MMSI" in capsys.readouterr().err


def test_two_records_that_disagree_leave_the_vessel_unknown(tmp_path):
    files = scene_files() | {"Ship.xml": ship_xml(ship_block(100, 200, "1"), ship_block(100, 200, "2"))}
    assert chips_of(read_files(tmp_path, files))[0].vessel == ""


def test_unknown_lengths_and_types(tmp_path):
    (chip,) = chips_of(read_files(tmp_path, scene_files(Length="0", Width="NaN", Elaborated_type="NA")))
    assert math.isnan(chip.length_m) and math.isnan(chip.width_m) and chip.subcategory == ""


def test_a_scene_without_ship_xml_is_named(tmp_path):
    files = scene_files()
    del files["Ship.xml"]
    with pytest.raises(UserError, match=rf"^{GRD_DUAL}.zip: holds no Ship.xml"):
        read_files(tmp_path, files)


@pytest.mark.parametrize("field", ["Center_x", "Center_y", "MMSI"])
def test_a_field_that_is_nowhere_is_named(tmp_path, field):
    files = scene_files(**{field: None})
    with pytest.raises(UserError, match=rf"^{GRD_DUAL}.zip: Ship.xml lacks the field {field}"):
        read_files(tmp_path, files)


@pytest.mark.parametrize("xml", [b"", b"<ShipList></ShipList>", b"<ship><MMSI>1</MMSI>", b"\xff\xfe</ship>"])
def test_a_ship_xml_without_ships_is_named(tmp_path, xml):
    with pytest.raises(UserError, match=rf"^{GRD_DUAL}.zip: Ship.xml has no <ship> block"):
        read_files(tmp_path, scene_files() | {"Ship.xml": xml})


def test_entities_are_not_expanded(tmp_path):
    bomb = b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 100 + b'"><!ENTITY b "&a;&a;&a;">]>'
    files = scene_files(Elaborated_type="&b;")
    (chip,) = chips_of(read_files(tmp_path, files | {"Ship.xml": bomb + files["Ship.xml"]}))
    assert chip.subcategory == "&b;"


# -- where scenes lie


def known_by(items: list) -> list[tuple]:
    return sorted((chip.name, chip.vessel, chip.category, chip.fingerprint()) for chip in chips_of(items))


FLAT = scene_files()
RELEASE_1 = below(GRD_DUAL, {name: data for name, data in FLAT.items() if name != f"{GRD_DUAL}.xml"})
RELEASE_1[f"{GRD_DUAL}/Metedata.xml"] = FLAT[f"{GRD_DUAL}.xml"]
FORMS = {
    "scene folder": below(GRD_DUAL, FLAT),
    "folder of scene archives": {f"{GRD_DUAL}.zip": zip_bytes(FLAT)},
    "copy of a scene archive": {f"{GRD_DUAL} (1).zip": zip_bytes(FLAT)},
    "another copy": {f"{GRD_DUAL}(1).zip": zip_bytes(FLAT)},
    "rar": {f"{GRD_DUAL}.rar": rar_bytes(FLAT)},
    "rar named zip": {f"{GRD_DUAL}.zip": rar_bytes(RELEASE_1)},
    "release 1": {f"{GRD_DUAL}.zip": zip_bytes(RELEASE_1)},
    "release 1, renamed": {"scene1.zip": zip_bytes(RELEASE_1)},
    "release 2, renamed": {"scene2.zip": zip_bytes(FLAT)},
    "outer archive": {"OpenSARShip_2.zip": zip_bytes({f"OpenSARShip_2/{GRD_DUAL}.zip": zip_bytes(FLAT)})},
    "outer archive, stored": {"O.zip": zip_bytes({f"{GRD_DUAL}.zip": zip_bytes(FLAT)}, zipfile.ZIP_STORED)},
    "rar in zip": {"OpenSARShip_1.zip": zip_bytes({f"{GRD_DUAL}.rar": rar_bytes(RELEASE_1)})},
    "archive of extracted scenes": {"OpenSARShip.zip": zip_bytes(below(f"Data/{GRD_DUAL}", FLAT))},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_chips(tmp_path, form):
    expected = known_by(read_files(tmp_path, FLAT))
    assert len(expected) == 1
    folder = write_files(tmp_path / "raw", FORMS[form])
    assert known_by(read(folder)) == expected
    (top,) = folder.iterdir()  # the scene folder or archive itself
    assert known_by(read(top)) == expected


def test_a_scene_that_comes_twice_keeps_names_unique(tmp_path):
    files = {f"{GRD_DUAL}.zip": zip_bytes(FLAT), f"{GRD_DUAL}(1).zip": zip_bytes(FLAT)}
    folder = write_files(tmp_path / "raw", files)
    names = UniqueNames()
    found = [chip.name for chip in chips_of(read(folder, names=names) + read(folder, names=names))]
    assert found == [f"{GRD_DUAL}_x100_y200_VV{suffix}" for suffix in ("", "-2", "-3", "-4")]


def test_scenes_come_sorted_and_one_at_a_time(tmp_path):
    files = {f"{GRD_SINGLE}.zip": zip_bytes(scene_files(GRD_SINGLE)), f"{GRD_DUAL}.zip": zip_bytes(FLAT)}
    broken = f"{SLC_DUAL}.zip"
    folder = write_files(tmp_path / "raw", files | {broken: b"PK\x03\x04 cut"})
    read_scenes = []
    with open_source(folder, 1 << 30) as source, pytest.raises(UserError, match=rf"^raw/{broken}: is truncated"):
        read_scenes.extend(item.source.split("/")[1] for item in read_opensarship(source))
    with open_source(folder, 1 << 30) as source:
        first = next(read_opensarship(source))  # the broken archive, the last one, is not open yet
    assert first.source.startswith(f"raw/{GRD_DUAL}.zip")


def test_a_source_without_scenes_is_said(tmp_path, capsys):
    with pytest.raises(UserError, match=r"^other.zip: holds no OpenSARShip scene"):
        read_files(tmp_path, {"inner.zip": zip_bytes({"readme.txt": b"x"})}, "other.zip")
    assert "other.zip/inner.zip: holds no OpenSARShip scene, left out" in capsys.readouterr().err


def test_a_scene_that_nothing_names_is_said(tmp_path):
    files = FLAT | {f"{GRD_DUAL}.xml": b""}
    files["Metedata.xml"] = files.pop(f"{GRD_DUAL}.xml")
    with pytest.raises(UserError, match=r"^scene.zip: neither its folder nor its archive nor its metadata"):
        read_files(tmp_path, files, "scene.zip")


def test_a_scene_without_chips_is_said(tmp_path, capsys):
    assert read_files(tmp_path, {"Ship.xml": FLAT["Ship.xml"]}) == []
    assert "holds no chips in Patch_Uint8" in capsys.readouterr().err


# -- the four real scenes


def listed(path) -> tuple[str, Counter, dict[tuple[str, str], str]]:
    """Product name, chips by (type, polarization) from the file names, and MMSI by place from Ship.xml."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (ship_xml_name,) = [name for name in names if name.endswith("Ship.xml")]
        xml = archive.read(ship_xml_name).decode()
    patches = [name.split("/")[-1] for name in names if "Patch_Uint8/Visual_" in name]
    ends = {"_vh": "VH", "_vv": "VV"}
    counts = Counter((name.split("_")[1], ends.get(name[-7:-4], "VV")) for name in patches)
    pattern = r"<Center_x>(\d+)<.*?<Center_y>(\d+)<.*?<MMSI>(\d+)<"
    vessels = {(x, y): mmsi for x, y, mmsi in re.findall(pattern, xml, re.DOTALL)}
    return path.stem, counts, vessels


@pytest.fixture(scope="module")
def real_scenes(real_data):
    paths = sorted((real_data / "opensarship").glob("*.zip"))
    assert len(paths) == 4
    return paths


def test_real_scenes_give_what_their_names_and_ship_xml_say(real_scenes):
    for path in real_scenes:
        product_name, counts, vessels = listed(path)
        items = read(path, **EVERYTHING)
        assert chips_of(items) == items and len(items) == sum(counts.values()) > 0
        assert Counter((chip.category, chip.polarization) for chip in items) == counts
        for chip in items:
            x, y = re.search(r"_x(\d+)_y(\d+)", chip.source).groups()
            assert chip.vessel == vessels[x, y] != ""
            assert chip.scene == product_name and chip.product == ("SLC" if "_SLC_" in product_name else "GRD")
            assert "/Patch_Uint8/" in chip.source


def test_real_scenes_together_give_vv_of_grd_by_default(real_data, real_scenes):
    expected = Counter()
    for path in real_scenes:
        product_name, counts, _ = listed(path)
        if "_GRDH_" in product_name:
            expected += Counter({kind: n for (kind, polarization), n in counts.items() if polarization == "VV"})
    items = read(real_data / "opensarship")
    chips = chips_of(items)
    assert Counter(chip.category for chip in chips) == expected
    assert set(reasons_of(items)) == {WRONG_PRODUCT, WRONG_POLARIZATION}
    assert {(chip.product, chip.polarization) for chip in chips} == {("GRD", "VV")}
    assert len({chip.name for chip in chips}) == len(chips)
    for chip in chips:
        assert (chip.row_spacing_m, chip.col_spacing_m) == pytest.approx((10, 10), abs=0.05)


def test_real_scenes_repacked_as_an_outer_archive(real_data, real_scenes, tmp_path):
    outer = tmp_path / "OpenSARShip_2.zip"
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(outer, "w", compression) as archive:
            for path in real_scenes:
                archive.write(path, f"OpenSARShip_2/{path.stem} (1).zip")
        assert known_by(read(outer, **EVERYTHING)) == known_by(read(real_data / "opensarship", **EVERYTHING))


def test_real_calibrated_and_8_bit_pixels_agree(real_data):
    eight_bit = {chip.name: chip for chip in read(real_data / "opensarship", **EVERYTHING)}
    calibrated = {chip.name: chip for chip in read(real_data / "opensarship", pixels="calibrated", **EVERYTHING)}
    assert calibrated.keys() == eight_bit.keys()
    for name, chip in calibrated.items():
        levels = eight_bit[name].pixels
        assert chip.pixels.shape == levels.shape and chip.pixels.dtype == np.float32
        # In the order of sigma nought the 8-bit levels rise, but for rounding: it is the same band of the same ship.
        in_order = levels.ravel()[np.argsort(chip.pixels, axis=None)].astype(int)
        assert np.abs(in_order - np.sort(levels, axis=None)).max() <= 1, name


def test_real_slc_spacing_on_the_ground(real_data):
    (path,) = (real_data / "opensarship").glob("*_SLC_*")
    incidence = re.findall(r"<Incidence>([\d.]+)<", zipfile.ZipFile(path).read("Ship.xml").decode())
    chips = chips_of(read(path, product="slc"))
    assert len(chips) == len(incidence) == 9
    expected = sorted(2.329562 / math.sin(math.radians(float(degrees))) for degrees in incidence)
    assert sorted(chip.col_spacing_m for chip in chips) == pytest.approx(expected, rel=1e-6)
    assert {round(chip.row_spacing_m, 3) for chip in chips} == {13.928}
