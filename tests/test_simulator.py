"""The archives of the simulator: official layouts, reproducible bytes, who is seen and how often."""

import csv
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship import simulator
from sarship.archives import open_source
from sarship.command import UserError
from sarship.readers import Rejected
from sarship.readers.fusar import read_fusar
from sarship.readers.opensarship import read_opensarship
from sarship.simulator import FUSAR, GRD, fusar_archive, render_chip, traffic

CHIPS = 36  # the fewest
PLENTY = 10**9
SCENE_NAME = re.compile(r"S1A_IW_(GRDH|SLC_)_1S(DV|SV)_\d{8}T\d{6}_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_[0-9A-F]{4}")


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> tuple[Path, Path]:
    return simulator.simulate_archives(tmp_path_factory.mktemp("raw"), CHIPS, seed=0)


@pytest.fixture(scope="module")
def scenes(archives) -> dict[str, zipfile.ZipFile]:
    with zipfile.ZipFile(archives[1]) as outer:
        return {name: zipfile.ZipFile(io.BytesIO(outer.read(name))) for name in outer.namelist()}


def ships_of(xml: bytes) -> list[dict[str, str]]:
    blocks = re.findall(r"<ship>.*?</ship>", xml.decode(), re.DOTALL)
    return [dict(re.findall(r"<(\w+)>([^<]*)</\1>", block)) for block in blocks]


def ship_lists(scenes) -> dict[str, bytes]:
    return {
        name: scene.read(next(entry for entry in scene.namelist() if entry.endswith("Ship.xml")))
        for name, scene in scenes.items()
    }


# ---- the archives as files


def test_same_seed_same_bytes_other_seed_other_bytes(archives, tmp_path):
    again = simulator.simulate_archives(tmp_path / "again", CHIPS, seed=0)
    other = simulator.simulate_archives(tmp_path / "other", CHIPS, seed=1)
    for first, second, third in zip(archives, again, other, strict=True):
        assert first.read_bytes() == second.read_bytes()
        assert first.read_bytes() != third.read_bytes()


def test_names_of_the_archives(archives):
    assert [path.name for path in archives] == ["FUSAR_Ship1.0.zip", "OpenSARShip_2.zip"]


@pytest.mark.parametrize("options", [{"chips": CHIPS - 1}, {"chips": CHIPS, "seed": -1}])
def test_bad_numbers_are_refused(tmp_path, options):
    with pytest.raises(UserError):
        simulator.simulate_archives(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_archives_are_whole_or_absent(tmp_path, monkeypatch):
    calls = iter(range(10))

    def fails_later(*arguments):
        if next(calls) == 5:
            raise KeyboardInterrupt
        return render_chip(*arguments)

    monkeypatch.setattr("sarship.simulator.fusar_archive.render_chip", fails_later)
    with pytest.raises(KeyboardInterrupt):
        simulator.simulate_archives(tmp_path, CHIPS, seed=0)
    assert not list(tmp_path.iterdir())


# ---- FUSAR-Ship's layout


def test_fusar_layout(archives):
    with zipfile.ZipFile(archives[0]) as archive:
        chips = [name for name in archive.namelist() if name.endswith(".tiff")]
        lines = archive.read("FUSAR_Ship1.0/meta.csv").decode().splitlines()
        with tifffile.TiffFile(io.BytesIO(archive.read(chips[0]))) as tiff:
            page = tiff.pages[0]
            assert (page.shape, page.dtype, page.rowsperstrip) == ((512, 512), np.uint8, 16)
            assert page.compression == tifffile.COMPRESSION.PACKBITS
    assert lines[0] == "id,mmsi,length,width,polarMode,centerLookAngle,heightspace,widthspace,path"
    rows = {row["id"]: row for row in csv.DictReader(lines)}
    assert len(rows) > len(chips)
    for chip in chips:
        top, category, subcategory, file = chip.split("/")
        assert top == "FUSAR_Ship1.0"
        assert re.fullmatch(r"Ship_C\d\dS\d\dN\d{4}\.tiff", file)
        row = rows[file.removesuffix(".tiff")]
        assert row["path"] == f"{category}\\{subcategory}"
        assert row["polarMode"] in ("DH", "DV")
        assert 1.70 <= float(row["heightspace"]) <= 1.73


def test_fusar_has_a_chip_twice(archives):
    with zipfile.ZipFile(archives[0]) as archive:
        contents = [archive.read(name) for name in archive.namelist() if name.endswith(".tiff")]
    assert len(set(contents)) == len(contents) - 1
    assert b"" not in contents


@pytest.mark.parametrize(("chips", "empty"), [(200, 0), (300, 1)])
def test_fusar_has_a_file_without_bytes_in_larger_sets(tmp_path, monkeypatch, chips, empty):
    monkeypatch.setattr("sarship.simulator.fusar_archive.render_chip", lambda *_: np.zeros((1, 1, 4, 4), np.complex64))
    rng = np.random.default_rng(0)
    scenes = traffic.draw_scenes(FUSAR, 8, np.random.SeedSequence(0))
    fleet = traffic.draw_fleets(chips, rng)["Fusar"]
    path = fusar_archive.write_fusar(tmp_path, traffic.draw_sightings("Fusar", chips, fleet, scenes, rng))
    with zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist() if entry.filename.endswith("f") and not entry.file_size]
    assert len(names) == empty
    assert all("/Cargo/" in name for name in names)


# ---- OpenSARShip's layout


def test_scene_names(scenes):
    stems = [name.removesuffix(".zip") for name in scenes]
    assert all(SCENE_NAME.fullmatch(stem.removesuffix("(1)")) for stem in stems)
    assert sum(stem.endswith("(1)") for stem in stems) == 1
    products = [(SCENE_NAME.match(stem)[1], SCENE_NAME.match(stem)[2]) for stem in stems]
    assert products.count(("SLC_", "DV")) == 2
    assert products.count(("GRDH", "SV")) == 1
    assert products.count(("GRDH", "DV")) > 4


def test_both_releases(scenes):
    first = [
        (name, scene) for name, scene in scenes.items() if any("Metedata.xml" in entry for entry in scene.namelist())
    ]
    assert len(first) == 1
    name, scene = first[0]
    assert all(entry.startswith(name.removesuffix(".zip") + "/") for entry in scene.namelist())
    figures = [entry for entry in scene.namelist() if "Patch_RGB/" in entry and entry.endswith(".tif")]
    assert figures
    assert scene.read(figures[0]).startswith(b"\x89PNG")
    for other, xml in ship_lists(scenes).items():
        assert xml.endswith(b"</ShipList>" if other == name else b"<\\ShipList>")
        assert (b"<Slant_Range_Time>" in xml) == (other == name)
        assert (b"<ChipNoise>" in xml) == (other != name)
        assert xml.count(b"\r\n") == xml.count(b"\n") > 10


def test_ship_xml_has_the_fields_of_the_real_one(scenes, real_data):
    for release, pattern in ((1, "*GRDH_1SDV_20150823*.zip"), (2, "*GRDH_1SSV*.zip")):
        with zipfile.ZipFile(next((real_data / "opensarship").glob(pattern))) as archive:
            real = archive.read(next(name for name in archive.namelist() if name.endswith("Ship.xml")))
        xml = next(xml for xml in ship_lists(scenes).values() if (b"<ChipNoise>" in xml) == (release == 2))
        assert list(ships_of(xml)[0]) == list(ships_of(real)[0])


def test_each_ship_has_its_files_and_a_side_of_four_extents(scenes):
    for name, scene in scenes.items():
        entries = {entry.rpartition("Patch")[2]: entry for entry in scene.namelist()}
        suffixes = ("_vh", "_vv") if "1SDV" in name else ("",)
        for ship in ships_of(ship_lists(scenes)[name]):
            number = {key: int(ship[key]) for key in ship if key.endswith(("_x", "_y"))}
            extents = [abs(number[f"Head_{axis}"] - number[f"Tail_{axis}"]) for axis in "xy"]
            side = 4 * max(3, *extents) + 1
            place = f"_x{ship['Center_x']}_y{ship['Center_y']}"
            assert number["UpperLeft_x"] - number["LowerRight_x"] + 1 == side
            for suffix in suffixes:
                grey = next(key for key in entries if key.startswith("_Uint8/") and f"{place}{suffix}.tif" in key)
                pixels = tifffile.imread(io.BytesIO(scene.read(entries[grey])))
                assert (pixels.shape, pixels.dtype, pixels.max()) == ((side, side), np.uint8, 255)


@pytest.mark.parametrize(("product", "bands"), [("GRDH_1SDV", 2), ("GRDH_1SSV", 1), ("SLC__1SDV", 4)])
def test_patches_calibrated_patches_and_grey_chips_agree(scenes, product, bands):
    scene = next(scene for name, scene in scenes.items() if product in name)
    raw_name = next(name for name in scene.namelist() if "Patch/" in name and name.endswith(".tif"))
    raw, calibrated = (
        np.atleast_3d(tifffile.imread(io.BytesIO(scene.read(name))))
        for name in (raw_name, raw_name.replace("Patch/", "Patch_Cal/"))
    )
    assert (raw.shape[2], raw.dtype) == (bands, np.float32)
    assert np.array_equal(raw, np.rint(raw))
    amplitude = np.hypot(raw[..., 0::2], raw[..., 1::2]) if bands == 4 else raw
    gain = np.sqrt((amplitude**2).sum() / calibrated.sum())
    np.testing.assert_allclose(calibrated, (amplitude / gain) ** 2, rtol=1e-3)

    vv = amplitude[..., -1]
    full_scale = np.sort(vv.ravel())[-2 if vv.size >= 5000 else -1]
    suffix = "_vv" if bands > 1 else ""
    grey = raw_name.replace("Patch/", "Patch_Uint8/Visual_").replace(".tif", f"{suffix}.tif")
    pixels = tifffile.imread(io.BytesIO(scene.read(grey)))
    assert np.abs(pixels - np.minimum(255 * vv / full_scale, 255)).max() <= 0.5 + 1e-3


def test_metadata_say_what_the_reader_needs(scenes):
    for name, scene in scenes.items():
        tables = [entry for entry in scene.namelist() if entry.endswith(".xml") and not entry.endswith("Ship.xml")]
        attributes = dict(re.findall(r'<attrib name="(\w+)" value="([^"]*)"', scene.read(tables[0]).decode()))
        assert attributes["PRODUCT"] == SCENE_NAME.match(name)[0]
        spacing = (float(attributes["range_spacing"]), float(attributes["azimuth_spacing"]))
        assert spacing == ((2.33, 13.93) if "SLC" in name else (10.0, 10.0))


# ---- who is seen, and how often


def read(path: Path, reader, **options) -> list:
    with open_source(path, PLENTY) as source:
        return list(reader(source, **options))


def test_the_real_readers_take_every_chip(archives):
    fusar, opensarship = read(archives[0], read_fusar), read(archives[1], read_opensarship)
    wanted = ("wrong polarization", "wrong product")
    assert not [chip for chip in fusar if isinstance(chip, Rejected)]
    assert not [chip for chip in opensarship if isinstance(chip, Rejected) and chip.reason not in wanted]
    vessels = [
        {(chip.category, chip.vessel) for chip in chips if not isinstance(chip, Rejected)}
        for chips in (fusar, opensarship)
    ]
    for dataset in vessels:
        for category in ("Cargo", "Fishing", "Tanker"):
            assert sum(known == category for known, _ in dataset) >= traffic.FEWEST_VESSELS
    assert vessels[0] & vessels[1]


def test_no_vessel_is_twice_in_one_scene(scenes):
    for xml in ship_lists(scenes).values():
        numbers = [ship["MMSI"] for ship in ships_of(xml)]
        assert len(set(numbers)) == len(numbers)


def test_slc_twins_hold_the_ships_of_their_grd_pass(scenes):
    lists = {SCENE_NAME.match(name)[0]: ships_of(xml) for name, xml in ship_lists(scenes).items()}
    for name in (name for name in lists if "_SLC__" in name):
        start = name.split("_")[-6:-2]
        twin = next(other for other in lists if "GRDH" in other and other.split("_")[-6:-2][1:] == start[1:])
        assert [ship["MMSI"] for ship in lists[name]] == [ship["MMSI"] for ship in lists[twin]]


@given(chips=st.integers(CHIPS, 5000))
@settings(max_examples=50, deadline=None)
def test_class_counts(chips):
    for dataset, shares in traffic.SHARES.items():
        counts = traffic.chips_per_class(dataset, chips)
        three = sum(counts[category] for category in shares)
        assert min(counts[category] for category in shares) >= traffic.FEWEST_VESSELS
        assert three == chips
        if chips >= 600:
            assert all(abs(counts[category] / chips - share) < 0.002 for category, share in shares.items())


@given(chips=st.integers(CHIPS, 400), seed=st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_sightings_are_as_many_as_planned_in_one_to_six_scenes(chips, seed):
    fleets = traffic.draw_fleets(chips, np.random.default_rng(seed))
    scenes = traffic.draw_scenes(GRD, 8, np.random.SeedSequence(seed))
    for dataset, fleet in fleets.items():
        sightings = traffic.draw_sightings(dataset, chips, fleet, scenes, np.random.default_rng(seed))
        assert len(sightings) == sum(traffic.chips_per_class(dataset, chips).values())
        pairs = {(sighting.vessel.mmsi, sighting.scene.number) for sighting in sightings}
        assert len(pairs) == len(sightings)
        times = np.unique([mmsi for mmsi, _ in pairs], return_counts=True)[1]
        assert len(times) == len(fleet)
        assert times.max() <= 6
        if chips >= 100:  # below, every class has as few chips as vessels
            assert times.max() > 1
    numbers = {vessel.mmsi for fleet in fleets.values() for vessel in fleet}
    objects = {id(vessel) for fleet in fleets.values() for vessel in fleet}
    assert len(numbers) == len(objects)
    assert all(200_000_000 <= number < 800_000_000 for number in numbers)
