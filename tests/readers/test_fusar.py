"""FUSAR-Ship: what the folders and meta.csv say arrives in the chips, and what is wrong is said."""

import math

import numpy as np
import pytest

from sarship.archives import open_source
from sarship.chip import Chip
from sarship.command import UserError
from sarship.readers import EMPTY, OTHER_CLASS, UNREADABLE, UniqueNames
from sarship.readers.fusar import NOMINAL_COL_SPACING_M, NOMINAL_ROW_SPACING_M, read_fusar
from tests.official import META_HEADER, chip_pixels, fusar_files, meta_csv, tiff_bytes, write_files, zip_bytes

CHIPS = [("Cargo/BulkCarrier", "Ship_C01S01N0001"), ("Fishing/Fishing", "Ship_C02S01N0001")]


def read(path, **options) -> list:
    with open_source(path, max_bytes=1 << 30) as source:
        return list(read_fusar(source, **options))


def read_files(tmp_path, files: dict[str, bytes], **options) -> list:
    path = tmp_path / "FUSAR_Ship1.0.zip"
    path.write_bytes(zip_bytes(files))
    return read(path, **options)


def one_chip(tmp_path, row: str) -> Chip:
    files = fusar_files(CHIPS[0], rows=("Ship_C09S09N0001,,,,,,,,", row))
    (chip,) = read_files(tmp_path, files)
    return chip


def test_a_chip_has_all_that_the_archive_says(tmp_path):
    first, second = read_files(tmp_path, fusar_files(*CHIPS))
    np.testing.assert_array_equal(first.pixels, chip_pixels(0))
    np.testing.assert_array_equal(second.pixels, chip_pixels(1))
    described = {name: value for name, value in vars(first).items() if name != "pixels"}
    assert described == {
        "name": "Ship_C01S01N0001",
        "dataset": "Fusar",
        "category": "Cargo",
        "subcategory": "BulkCarrier",
        "vessel": "413338000",
        "scene": "GF3_HH_33.5_1.7306",
        "sensor": "Gaofen-3",
        "product": "UFS",
        "polarization": "HH",
        "row_spacing_m": 1.7306,
        "col_spacing_m": 1.1242,
        "length_m": 190.0,
        "width_m": 32.0,
        "source": "FUSAR_Ship1.0.zip/FUSAR_Ship1.0/Cargo/BulkCarrier/Ship_C01S01N0001.tiff",
    }
    assert (second.category, second.subcategory, second.vessel) == ("Fishing", "Fishing", "413338001")


@pytest.mark.parametrize("top", ["", "downloads", "downloads/FUSAR_Ship1.0"])
def test_any_folder_of_the_archive_can_be_given(tmp_path, top, capsys):
    expected = [(chip.name, chip.category, chip.subcategory) for chip in read_files(tmp_path, fusar_files(*CHIPS))]
    files = {f"downloads/{name}": data for name, data in fusar_files(*CHIPS).items()}
    found = read(write_files(tmp_path / "given", files) / top)
    assert [(chip.name, chip.category, chip.subcategory) for chip in found] == expected
    assert capsys.readouterr().err == ""  # each chip lies where meta.csv says


def test_meta_csv_may_lie_beside_the_folder(tmp_path):
    files = fusar_files(*CHIPS)
    files["meta.csv"] = files.pop("FUSAR_Ship1.0/meta.csv")
    assert [chip.category for chip in read_files(tmp_path, files)] == ["Cargo", "Fishing"]


def test_a_category_without_subcategories(tmp_path):
    (chip,) = read_files(tmp_path, fusar_files(("Dredger", "Ship_C03S02N0017")))
    assert (chip.category, chip.subcategory) == ("Dredger", "")


@pytest.mark.parametrize("written", ["", "0", "-1", "NaN", "nan", "NA", " "])
def test_an_unknown_vessel_is_empty(tmp_path, written):
    assert one_chip(tmp_path, f"Ship_C01S01N0001,{written},190,32,HH,33.5,1.7,1.1,Cargo\\BulkCarrier").vessel == ""


def test_an_mmsi_is_digits_however_it_is_written(tmp_path):
    assert one_chip(tmp_path, "Ship_C01S01N0001,413338000.0,0,,HH,33.5,1.7,1.1,Cargo").vessel == "413338000"


def test_an_unknown_length_is_nan(tmp_path):
    chip = one_chip(tmp_path, "Ship_C01S01N0001,1,0,,HH,33.5,1.7,1.1,Cargo\\BulkCarrier")
    assert math.isnan(chip.length_m) and math.isnan(chip.width_m)


def test_a_chip_without_a_row_has_the_nominal_spacing_and_it_is_said(tmp_path, capsys):
    (chip,) = read_files(tmp_path, fusar_files(CHIPS[0], rows=()))
    assert (chip.vessel, chip.scene, chip.polarization) == ("", "", "")
    assert (chip.row_spacing_m, chip.col_spacing_m) == (NOMINAL_ROW_SPACING_M, NOMINAL_COL_SPACING_M)
    said = capsys.readouterr().err
    assert "1 chips have no row in meta.csv" in said and "1 chips without a spacing in meta.csv" in said


def test_an_id_that_stands_twice_means_the_row_of_its_own_folder(tmp_path):
    row = "Ship_C01S01N0001,{mmsi},190,32,HH,33.5,1.7,1.1,{folder}"
    rows = (row.format(mmsi=1, folder="Tanker\\Tanker"), row.format(mmsi=2, folder="Cargo\\BulkCarrier"))
    (chip,) = read_files(tmp_path, fusar_files(CHIPS[0], rows=rows))
    assert chip.vessel == "2"


def test_a_chip_in_another_folder_than_its_row_says_is_counted(tmp_path, capsys):
    chip = one_chip(tmp_path, "Ship_C01S01N0001,1,190,32,HH,33.5,1.7,1.1,Tanker\\Tanker")
    assert chip.category == "Cargo"
    assert "1 chips lie in another folder than meta.csv says" in capsys.readouterr().err


def test_other_classes_are_rejected_without_decoding(tmp_path):
    files = fusar_files(*CHIPS)
    files["FUSAR_Ship1.0/Cargo/BulkCarrier/Ship_C01S01N0001.tiff"] = b"no TIFF"
    found = read_files(tmp_path, files, wanted=lambda category, subcategory: (category, subcategory) == CHIPS[1])
    assert [item.reason for item in found] == [OTHER_CLASS] * 2
    found = read_files(tmp_path, files, wanted=lambda category, _: category == "Fishing")
    assert found[0].reason == OTHER_CLASS and found[1].category == "Fishing"


def test_bad_and_empty_chips_are_rejected_and_the_rest_is_read(tmp_path):
    folder = "FUSAR_Ship1.0/Cargo/BulkCarrier/"
    bad = {
        f"{folder}a.tiff": b"",
        f"{folder}b.tiff": b"no TIFF",
        f"{folder}c.tiff": tiff_bytes(np.full((9, 9), 7, "u1")),
    }
    found = read_files(tmp_path, fusar_files(*CHIPS) | bad)
    assert [item.reason for item in found[1:4]] == [UNREADABLE, UNREADABLE, EMPTY]
    assert [item.name for item in (found[0], found[4])] == [name for _, name in CHIPS]


def test_names_stay_unique_within_and_between_archives(tmp_path):
    twice = fusar_files(CHIPS[0], ("Tanker/Tanker", CHIPS[0][1]))
    names = UniqueNames()
    found = read_files(tmp_path, twice, names=names) + read_files(tmp_path, twice, names=names)
    assert [chip.name for chip in found] == [f"Ship_C01S01N0001{suffix}" for suffix in ("", "-2", "-3", "-4")]


def test_a_missing_table_is_named(tmp_path):
    files = fusar_files(*CHIPS)
    del files["FUSAR_Ship1.0/meta.csv"]
    with pytest.raises(UserError, match=r"^FUSAR_Ship1.0.zip: holds no meta.csv"):
        read_files(tmp_path, files)


@pytest.mark.parametrize("column", META_HEADER.split(","))
def test_a_missing_column_is_named(tmp_path, column):
    header = ",".join(name for name in META_HEADER.split(",") if name != column)
    files = fusar_files(*CHIPS) | {"FUSAR_Ship1.0/meta.csv": header.encode() + b"\r\n1,2,3\r\n"}
    with pytest.raises(UserError, match=rf"meta.csv: lacks the column {column};"):
        read_files(tmp_path, files)


@pytest.mark.parametrize("table", [b"", b"\x00\xff\xfe", meta_csv("a" * 200_000)], ids=["empty", "binary", "long"])
def test_a_table_that_is_none_is_one_line(tmp_path, table):
    with pytest.raises(UserError, match=r"meta.csv: l"):
        read_files(tmp_path, fusar_files(*CHIPS) | {"FUSAR_Ship1.0/meta.csv": table})


def test_an_archive_without_chips_is_said(tmp_path):
    with pytest.raises(UserError, match="holds no chips"):
        read_files(tmp_path, fusar_files())


def test_real_chips(real_data, tmp_path):
    paths = sorted((real_data / "fusar").rglob("*.tiff"))
    assert len(paths) == 4
    files = {f"FUSAR_Ship1.0/{path.parent.name}/{path.name}": path.read_bytes() for path in paths}
    rows = [
        f"{path.stem},{index + 1},100,20,HH,30,1.7,1.1,{path.parent.name}\\{path.stem}"
        for index, path in enumerate(paths)
    ]
    found = read_files(tmp_path, files | {"FUSAR_Ship1.0/meta.csv": meta_csv(*rows)})
    assert [(chip.name, chip.category, chip.vessel) for chip in found] == [
        (path.stem, path.parent.name, str(index + 1)) for index, path in enumerate(paths)
    ]
    for chip in found:
        assert chip.pixels.shape == (512, 512) and chip.pixels.dtype == np.uint8
        assert chip.pixels[156:356, 156:356].max() > 4 * np.median(chip.pixels)  # the ship, in the middle
