"""Whatever text there is in a study, a manifest or a name: something valid, or one line of UserError."""

import argparse

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sarship.command import UserError, byte_count, parse
from sarship.prepared import MANIFEST_COLUMNS, SPLITS, read_manifest, write_manifest
from sarship.readers import LONGEST_NAME, UniqueNames, fields, safe_name
from tests.test_command import parser

in_one_folder = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


# -- studies


def parsed(tmp_path, text: str) -> argparse.Namespace | None:
    """The options, or None after a UserError of one line."""
    study = tmp_path / "study.toml"
    study.write_bytes(text.encode("utf-8", "surrogatepass"))
    made = parser()
    made.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False)
    made.add_argument("--max-bytes", type=byte_count, default="1G")
    try:
        return parse(made, "test_models", ["--study", str(study)])
    except UserError:
        return None


def is_valid(chosen: argparse.Namespace) -> bool:
    kinds = isinstance(chosen.epochs, int) and isinstance(chosen.overwrite, bool) and isinstance(chosen.max_bytes, int)
    return kinds and chosen.geometry in ("metric", "chip") and len(chosen.classes) > 0


KEYS = [
    "epochs",
    "classes",
    "geometry",
    "overwrite",
    "no-overwrite",
    "max-bytes",
    "out",
    "help",
    "study",
    '""',
    '"a=b"',
]
VALUES = st.one_of(
    st.integers(), st.booleans(), st.floats(), st.dates(), st.sampled_from(["[]", "{}", "[[1]]", "[{}]", '"--epochs"']),
    st.text(max_size=8).map(lambda text: '"' + "".join(f"\\U{ord(each):08x}" for each in text) + '"'),
)  # fmt: skip


def as_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@in_one_folder
@given(table=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))
def test_any_keys_and_values_are_options_or_one_line(tmp_path, table):
    chosen = parsed(tmp_path, "[test_models]\n" + "".join(f"{key} = {as_toml(table[key])}\n" for key in table))
    assert chosen is None or is_valid(chosen)


@in_one_folder
@given(text=st.text(max_size=60))
def test_any_text_is_a_study_or_one_line(tmp_path, text):
    chosen = parsed(tmp_path, text)
    assert chosen is None or is_valid(chosen)


@pytest.mark.parametrize(
    "line",
    [
        "help = true", 'study = "other.toml"', 'out = "a\\u0000b"', "epochs = " + "9" * 5000,
        "epochs = 0x" + "f" * 5000, "classes = " + "[" * 5000, "overwrite = []", "overwrite = 1", "epochs = true",
        'classes = ["a", "--epochs", "5"]', 'max-bytes = "' + "9" * 400 + '"', "classes = [{}]",
    ],
)  # fmt: skip
def test_what_is_no_value_is_one_line(tmp_path, line):
    assert parsed(tmp_path, f"[test_models]\n{line}\n") is None


# -- manifests

# Control characters come into no manifest: fields.cell has taken them out.
CELLS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]) | st.just("\n"), max_size=10)
METRES = st.floats(0.1, 1e4).map(lambda value: float(f"{value:.6g}"))


def manifest_of(cells: list[str], metres: float) -> pd.DataFrame:
    rows = [
        {column: metres if column.endswith("_m") else f"{cell}" for column in MANIFEST_COLUMNS}
        | {"split": SPLITS[index % 3], "chip": f"{cell}{index:03d}"}
        for index, cell in enumerate(cells)
    ]
    ordered = pd.DataFrame(rows, columns=list(MANIFEST_COLUMNS))
    return ordered.sort_values(["dataset", "split", "class", "chip"], kind="stable", ignore_index=True)


@in_one_folder
@given(
    cells=st.lists(CELLS | st.sampled_from(["=1", 'a"b', ",", "NA", "nan", "-"]), min_size=1, max_size=4), metres=METRES
)
def test_a_manifest_comes_back_as_it_was_written(tmp_path, cells, metres):
    manifest = manifest_of(cells, metres)
    write_manifest(tmp_path / "manifest.csv", manifest)
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "manifest.csv"), manifest, check_dtype=False)


@in_one_folder
@given(data=st.data())
def test_a_damaged_manifest_is_valid_or_one_line(tmp_path, data):
    path = tmp_path / "manifest.csv"
    write_manifest(path, manifest_of(["a", "b", "c,d"], 1.5))
    damaged = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(damaged))
    try:
        manifest = read_manifest(path)
    except UserError:
        return
    for column in MANIFEST_COLUMNS:
        values = manifest[column]
        assert (
            values.dtype == float if column.endswith("_m") else values.map(lambda value: isinstance(value, str)).all()
        )
    assert set(manifest["split"]) <= set(SPLITS)


# -- names

FORMULA = ("=", "+", "-", "@")


@given(
    names=st.lists(
        st.text(max_size=6) | st.sampled_from(["a", "A", "a-2", "A-2-2", "-", "con", "x" * 300]), max_size=12
    )
)
def test_names_are_unique_whatever_the_file_system(names):
    unique = UniqueNames()
    claimed = [unique.claim(name) for name in names]
    assert len({name.casefold() for name in claimed}) == len(claimed)
    for name in claimed:
        assert 0 < len(name) <= LONGEST_NAME + 20
        assert not set(name) & set("/\\.\0<> ")
        assert not name.startswith(FORMULA)
        assert name.lower() not in ("con", "nul", "com1")


@given(name=st.text(max_size=300))
def test_a_safe_name_stays_as_it_is(name):
    assert len(safe_name(name)) <= LONGEST_NAME
    assert safe_name(safe_name(name)) == safe_name(name)


@pytest.mark.parametrize(
    "name",
    ["Ship_C01S01N0001", "S1A_IW_GRDH_1SDV_20150823T221233_20150823T221258_007396_00A2CA_54D0_x12_y3_VV", "river_12"],
)
def test_official_names_stay_as_they_are(name):
    assert UniqueNames().claim(name) == name


@given(text=st.text(max_size=10) | st.sampled_from(["=1+1", " =1", "\t=1", "-2", "@x", "＝1"]))
def test_a_cell_is_one_line_and_no_formula(text):
    cell = fields.cell(text)
    assert not cell.strip().startswith((*FORMULA, "＝"))
    assert len(cell.splitlines()) <= 1
    assert fields.cell(cell) == cell


@pytest.mark.parametrize(
    "text", ["Oil/Chemical Tanker", "OpenSARShip_2.zip/S1A.zip/Patch_Uint8/a.tif", "DH", "GF3_DH_33.5"]
)
def test_official_texts_stay_as_they_are(text):
    assert fields.cell(text) == text
