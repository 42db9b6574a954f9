"""What strangers can put into archives, through the whole of dataset_prep.py or the part that has to stand it."""

import struct
import tarfile
import time
import tracemalloc

import pandas as pd
import pytest

from sarship import tar_members, zip_members
from sarship.archives import open_source
from sarship.command import UserError
from sarship.prepared import read_manifest
from sarship.readers import MAX_TABLE_BYTES, read_table
from sarship.readers.ship_xml import parse_ships
from tests import scene_archives
from tests.official import GRD_DUAL, rar_bytes, scene_files, zip_bytes
from tests.official import chip_pixels as pixels
from tests.tars import tar_bytes
from tests.test_dataset_prep import refused, run

PLENTY = 1 << 40


def saved(tmp_path, data: bytes, name: str = "a.zip"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def line_of(path) -> str:
    with pytest.raises(UserError) as error:
        open_source(path, PLENTY).close()
    assert "\n" not in str(error.value)
    return str(error.value)


# -- found by benchmarks/damaged_archives.py


def test_a_name_that_is_damaged_in_the_directory_only_loses_no_file(tmp_path):
    data = bytearray(zip_bytes({"Town/a.png": b"a", "Town/b.png": b"b"}))
    data[data.rindex(b"b.png") + 2] ^= 1
    assert "stands where its directory says" in line_of(saved(tmp_path, bytes(data)))


@pytest.mark.parametrize("blocks", [1, 2])
def test_zeros_within_a_tar_are_not_its_end(tmp_path, blocks):
    data = tar_bytes({"a.png": b"a" * 600, "b.png": b"b" * 600, "c.png": b"c"})
    place = data.index(b"b.png")
    damaged = data[:place] + bytes(512 * blocks) + data[place + 512 * blocks :]
    assert "zeros within it" in line_of(saved(tmp_path, damaged, "a.tar"))


def test_too_few_chips_for_the_published_split_and_too_many_bad_ones_name_what_it_is(tmp_path):
    files = {f"Set/{name}/{index}.png": scene_archives.encoded(pixels(index)) for index, name in enumerate("ab")}
    path = saved(tmp_path, zip_bytes(files | {"Set/a/bad.png": b"none"}), "land.zip")
    done = run("--scenes", f"Land={path}", "--out", tmp_path / "out", expect=2)
    assert "error: land.zip: 1 of 3 chips are unreadable" in done.stderr
    scenes = saved(tmp_path, zip_bytes(scene_files(places=(("Cargo", 1, 2), ("Tanker", 3, 4)))), f"{GRD_DUAL}.zip")
    words = ("--opensarship", scenes, "--split", "published", "--allow-missing")
    assert "2 chips are too few" in refused(*words, out=tmp_path / "few")


# -- how many, how long


def many_in_a_zip(count: int) -> bytes:
    local = struct.pack("<LHHHHHLLLHH", 0x04034B50, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"a"
    central = struct.pack("<LHHHHHHLLLHHHHHLL", 0x02014B50, 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<LHHHHLLH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, len(central) * count, len(local), 0)
    return local + central * count + end


def many_in_a_tar(count: int) -> bytes:
    return tarfile.TarInfo("a").tobuf(tarfile.USTAR_FORMAT) * count + bytes(1024)


def test_a_directory_of_a_million_entries_is_refused_before_it_is_listed(tmp_path):
    path = saved(tmp_path, many_in_a_zip(1_000_000))
    started = time.monotonic()
    tracemalloc.start()
    try:
        assert "more than 500,000 entries" in line_of(path)
        assert tracemalloc.get_traced_memory()[1] < 2e8
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("form", ["tar", "rar"])
def test_too_many_entries_are_refused(tmp_path, monkeypatch, form):
    monkeypatch.setattr("sarship.tar_members.MAX_ENTRIES", 10)
    monkeypatch.setattr("sarship.rar_members.MAX_ENTRIES", 10)
    data = many_in_a_tar(11) if form == "tar" else rar_bytes({f"{number}": b"" for number in range(11)})
    assert "entries" in line_of(saved(tmp_path, data, f"a.{form}"))


def test_the_directory_of_a_zip_has_a_limit_in_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(zip_members, "MAX_DIRECTORY_BYTES", 100)
    assert "a directory of" in line_of(saved(tmp_path, zip_bytes({f"{number}": b"" for number in range(9)})))
    assert tar_members.MAX_ENTRIES == zip_members.MAX_ENTRIES


@pytest.mark.parametrize("name", ["a" * 256, "/".join(["a" * 200] * 21)])
def test_names_that_no_file_system_holds_are_refused_in_a_short_line(tmp_path, name):
    for data, file_name in ((zip_bytes({name: b""}), "a.zip"), (tar_bytes({name: b""}), "a.tar")):
        line = line_of(saved(tmp_path, data, file_name))
        assert "longer than a file name can be" in line
        assert len(line) < 500


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    data = tar_bytes({"abcd.png": b""}).replace(b"abcd", b"ab\xff\xfe")
    header = bytearray(data[:512])
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    assert "no proper file name" in line_of(saved(tmp_path, bytes(header) + data[512:], "a.tar"))


def test_a_table_that_would_fill_the_memory_is_not_read(tmp_path):
    path = saved(tmp_path, zip_bytes({"meta.csv": bytes(MAX_TABLE_BYTES + 1)}))
    with open_source(path, PLENTY) as source, pytest.raises(UserError, match="too many for a table"):
        read_table(source, source.entries()[0])


# -- names that come out


def prepared_scenes(tmp_path, names: list[str]) -> pd.DataFrame:
    """The manifest of pictures of these names."""
    files = {name: scene_archives.encoded(pixels(index)) for index, name in enumerate(names)}
    path = saved(tmp_path, zip_bytes(files), "=1+1.zip")
    run("--scenes", f"Land={path}", "--allow-missing", "--out", tmp_path / "out")
    manifest = read_manifest(tmp_path / "out" / "prepared" / "Land" / "manifest.csv")
    chips = list((tmp_path / "out" / "prepared" / "Land").glob("*/*/*.png"))
    assert len({chip.name.lower() for chip in chips}) == len(chips) == len(names)
    return manifest


def test_names_that_differ_in_case_devices_formulas_and_markup(tmp_path):
    names = [*(f"a/{name}.png" for name in ("A1", "a1", "-1", "CON", "x" * 240)), "b/B.png", "<script>/s.png"]
    manifest = prepared_scenes(tmp_path, names)
    assert set(manifest["class"]) == {"a", "b", "_script_"}
    assert {"A1", "a1-2"} <= set(manifest["chip"])
    assert not manifest.astype(str).apply(lambda column: column.str.startswith(("=", "+", "-", "@"))).any(axis=None)
    assert manifest["chip"].str.len().max() == 200


def test_texts_of_a_scene_are_no_formulas_and_break_no_line(tmp_path):
    places = tuple((name, 10 * index, 5) for index, name in enumerate(["Cargo", "Tanker"] * 3))
    scene = scene_files(places=places, Elaborated_type="=HYPERLINK(1)\r@x\0")
    path = saved(tmp_path, zip_bytes(scene), f"{GRD_DUAL}.zip")
    run("--opensarship", path, "--split", "published", "--allow-missing", "--out", tmp_path / "out")
    manifest = read_manifest(tmp_path / "out" / "prepared" / "OpenSARShip" / "manifest.csv")
    assert set(manifest["subclass"]) == {"_HYPERLINK(1) @x "}


@pytest.mark.parametrize("classes", [("Town", "town"), ("a b", "a_b"), ("\u68ee", "\u6d77")])
def test_classes_whose_folders_would_be_one_are_refused(tmp_path, classes):
    files = {f"Set/{name}/{name}.png": scene_archives.encoded(pixels(index)) for index, name in enumerate(classes)}
    path = saved(tmp_path, zip_bytes(files))
    assert "too much alike" in refused("--scenes", f"Land={path}", out=tmp_path / "out")


def test_chips_of_two_sets_have_names_of_their_own_in_mixed(tmp_path):
    for name, stem in (("one", "b_s_x"), ("two", "s_x")):
        files = {f"{kind}/{stem}{n}.png": scene_archives.encoded(pixels(20 * len(stem) + 10 * len(kind) + n))
                 for kind in ("b_s", "s") for n in range(5)}  # fmt: skip
        saved(tmp_path, zip_bytes(files), f"{name}.zip")
    words = ("--scenes", f"a={tmp_path / 'one.zip'}", f"a_b={tmp_path / 'two.zip'}", "--join", "--out", tmp_path / "o")
    run(*words)
    mixed = tmp_path / "o" / "prepared" / "Mixed"
    assert len(list(mixed.glob("*/*/*.png"))) == len(read_manifest(mixed / "manifest.csv")) == 20


def test_a_ship_xml_of_many_tags_is_read_in_linear_time(tmp_path):
    xml = "<ship>" * 300_000 + "<MMSI>" * 300_000 + "<Center_x>1</Center_x><Center_y>2</Center_y><MMSI>4</MMSI></ship>"
    started = time.monotonic()
    assert parse_ships(xml, "s")
    assert time.monotonic() - started < 10
