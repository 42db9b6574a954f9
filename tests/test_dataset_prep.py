"""Command 1, run as a user runs it, on tiny archives in the official layout and on the real scenes."""

import contextlib
import hashlib
import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import dataset_prep
from sarship.command import run_command
from sarship.prepared import MANIFEST_COLUMNS, read_dataset
from tests import official

CLASSES = ("Cargo", "Fishing", "Tanker")
SHARED_MMSI = [f"4133380{index:02d}" for index in range(8)]  # these vessels are in both archives


def run(*words: object, expect: int = 0) -> SimpleNamespace:
    """Run the command in this process; its exit status must be `expect`."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run_command(lambda: dataset_prep.main([str(word) for word in words]))
        except SystemExit as error:
            status = error.code
    assert status == expect, err.getvalue()
    return SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())


def refused(*words: object, out: Path) -> str:
    """The one line with which the command refuses; nothing is written."""
    before = sorted(out.rglob("*")) if out.exists() else None
    done = run(*words, "--out", out, expect=2)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert (sorted(out.rglob("*")) if out.exists() else None) == before
    return lines[0]


def mmsi(dataset: str, index: int) -> str:
    return SHARED_MMSI[index] if index < len(SHARED_MMSI) else f"{'2' if dataset == 'Fusar' else '3'}{index:08d}"


def fusar(chips_per_class: int = 24) -> dict[str, bytes]:
    """Every vessel in two chips."""
    chips, rows = [], []
    for number, name in enumerate(CLASSES):
        for index in range(chips_per_class):
            chip = f"Ship_C{number:02d}S01N{index:04d}"
            chips.append((f"{name}/{name}", chip))
            vessel = mmsi("Fusar", number * chips_per_class // 2 + index // 2)
            rows.append(f"{chip},{vessel},90,15,DH,33.5,1.7306,1.1242,{name}\\{name}")
    return official.fusar_files(*chips, ("Passenger/Passenger", "Ship_C09S01N0001"), rows=tuple(rows))


def opensarship(chips_per_class: int = 24) -> dict[str, bytes]:
    """Two scenes with the same vessels, as archives in an archive."""
    scenes = {}
    for number, product in enumerate((official.GRD_DUAL, official.GRD_DUAL.replace("54D0", "54D1"))):
        places = [
            (name, 1000 * number + 100 * kind + index, 500 + index)
            for kind, name in enumerate(CLASSES)
            for index in range(chips_per_class // 2)
        ]
        files = official.scene_files(product, tuple(places))
        vessels = {
            (x, y): mmsi("OpenSARShip", kind * chips_per_class // 2 + index)
            for kind in range(len(CLASSES))
            for index in range(chips_per_class // 2)
            for x, y in [(1000 * number + 100 * kind + index, 500 + index)]
        }
        files["Ship.xml"] = official.ship_xml(*(official.ship_block(x, y, vessels[x, y]) for _, x, y in places))
        scenes[f"{product}.zip"] = official.zip_bytes(files)
    return scenes


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("raw")
    paths = folder / "FUSAR_Ship1.0.zip", folder / "OpenSARShip_2.zip"
    paths[0].write_bytes(official.zip_bytes(fusar()))
    paths[1].write_bytes(official.zip_bytes(opensarship()))
    return paths


@pytest.fixture(scope="module")
def prepared(archives, tmp_path_factory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("out")
    done = run("--fusar", archives[0], "--opensarship", archives[1], "--out", out)
    return out, done.stdout


def test_it_writes_what_the_design_says(prepared):
    out, _ = prepared
    for name in ("Fusar", "OpenSARShip", "Mixed"):
        folder = out / "prepared" / name
        manifest = pd.read_csv(folder / "manifest.csv", dtype=str)
        assert tuple(manifest.columns) == MANIFEST_COLUMNS
        assert set(manifest["class"]) == set(CLASSES)
        for _, row in manifest.iterrows():
            path = folder / row["split"] / row["class"] / f"{row['chip']}.png"
            assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]
            assert np.asarray(Image.open(path)).shape == (128, 128)
        assert len(list(folder.glob("*/*/*.png"))) == len(manifest)
        assert Image.open(folder / "summary.png").width > 300
    assert sorted(path.name for path in (out / "prepared").iterdir()) == [
        "Fusar",
        "Mixed",
        "OpenSARShip",
        "options.json",
    ]
    assert sorted(path.name for path in out.iterdir()) == ["prepared"], "no temporary folder is left"


def test_no_vessel_in_two_splits_over_both_data_sets_and_mixed_is_their_sum(prepared):
    out, _ = prepared
    sets = {name: read_dataset(out, name).manifest for name in ("Fusar", "OpenSARShip", "Mixed")}
    both = pd.concat([sets["Fusar"], sets["OpenSARShip"]])
    assert set(SHARED_MMSI) <= set(sets["Fusar"]["vessel"]) & set(sets["OpenSARShip"]["vessel"])
    assert both.groupby("vessel")["split"].nunique().max() == 1
    key = ["split", "class", "chip", "sha256"]
    assert sorted(map(tuple, both[key].to_numpy())) == sorted(map(tuple, sets["Mixed"][key].to_numpy()))


def test_the_report_counts_everything(prepared):
    out, text = prepared
    manifest = read_dataset(out, "Mixed").manifest
    for (split, name), count in manifest.groupby(["split", "class"]).size().items():
        row = next(line.split() for line in text.split("Mixed", 1)[1].splitlines() if line.split()[:1] == [split])
        assert int(row[1 + CLASSES.index(name)]) == count
    assert "other class" in text, "the passenger ship"
    assert "wrong polarization" in text, "all VH chips"


def test_the_same_inputs_give_the_same_bytes(archives, prepared, tmp_path):
    first, _ = prepared
    run("--fusar", archives[0], "--opensarship", archives[1], "--out", tmp_path)
    for path in sorted((first / "prepared").rglob("*")):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "prepared" / path.relative_to(first / "prepared")).read_bytes()


def test_other_options_need_overwrite(archives, prepared, tmp_path):
    words = ["--fusar", archives[0], "--opensarship", archives[1]]
    run(*words, "--out", tmp_path)
    assert "up to date" in run(*words, "--out", tmp_path).stdout
    line = refused(*words, "--seed", "2", out=tmp_path)
    assert "--seed 1, not 2" in line
    assert "--overwrite" in line
    run(*words, "--seed", "2", "--overwrite", "--out", tmp_path)
    assert json.loads((tmp_path / "prepared" / "options.json").read_text())["options"]["seed"] == 2
    archives[0].with_name("other.zip").write_bytes(official.zip_bytes(fusar(26)))
    line = refused(
        "--fusar", archives[0].with_name("other.zip"), "--opensarship", archives[1], "--seed", 2, out=tmp_path
    )
    assert "other archives" in line


def test_duplicates_are_dropped_and_counted(archives, tmp_path):
    files = fusar()
    first = "FUSAR_Ship1.0/Cargo/Cargo/Ship_C00S01N0000.tiff"
    files["FUSAR_Ship1.0/Cargo/Cargo/Ship_C00S01N0900.tiff"] = files[first]
    files["FUSAR_Ship1.0/Tanker/Tanker/Ship_C02S01N0900.tiff"] = files[first]
    (tmp_path / "f.zip").write_bytes(official.zip_bytes(files))
    text = run("--fusar", tmp_path / "f.zip", "--out", tmp_path).stdout
    header, row = text.split("Left out:\n")[1].splitlines()[:2]
    assert header.split("  ")[-1] == "duplicate of another class"
    assert row.split()[1:] == ["1", "1", "1"], "a duplicate, a passenger ship, a duplicate of another class"
    assert len(read_dataset(tmp_path, "Fusar").manifest) == 72


def test_published_protocol(archives, tmp_path):
    run("--fusar", archives[0], "--geometry", "chip", "--split", "published", "--allow-missing", "--out", tmp_path)
    fusar_set = read_dataset(tmp_path, "Fusar")
    assert fusar_set.image_size == 224
    shares = fusar_set.manifest["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.2, abs=0.01)
    assert "val" not in shares


def test_calibrated_and_both_polarizations(archives, tmp_path):
    run("--opensarship", archives[1], "--pixels", "calibrated", "--polarization", "both", "--out", tmp_path)
    manifest = read_dataset(tmp_path, "OpenSARShip").manifest
    assert Counter(manifest["polarization"]) == {"VV": 72, "VH": 72}


def test_subcategory_level(archives, tmp_path):
    line = refused("--opensarship", archives[1], "--level", "subcategory", "--classes", "BulkCarrier", "ContainerShip",
                   out=tmp_path / "new")  # fmt: skip
    assert "BulkCarrier 72, ContainerShip 0" in line


# -- refusals: one line, exit status 2, nothing written


def test_without_archives_it_says_what_to_download(tmp_path):
    line = refused(out=tmp_path)
    for word in ("FUSAR_Ship1.0.zip", "OpenSARShip_2.zip", "https://", "--demo"):
        assert word in line


def broken_fusar(kind: str) -> bytes:
    files = fusar()
    meta = "FUSAR_Ship1.0/meta.csv"
    if kind == "no meta.csv":
        del files[meta]
    elif kind == "column lacking":
        files[meta] = files[meta].replace(b"heightspace", b"height")
    elif kind == "climbs out":
        files["../evil.tiff"] = b"x"
    elif kind == "too many bad chips":
        chips = [name for name in files if name.endswith(".tiff")][:3]
        files |= {chips[0]: b"", chips[1]: b"no tiff", chips[2]: official.tiff_bytes(np.ones((9, 9, 3), np.uint8))}
    data = official.zip_bytes(files)
    if kind == "truncated":
        return data[: len(data) // 2]
    if kind == "encrypted":
        central = data.index(b"PK\x01\x02")
        return official.patched(data, central + 8, "<H", 1)
    if kind == "no archive":
        return b"<html>404</html>"
    return data


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("truncated", "truncated"),
        ("no archive", "neither a zip nor a rar"),
        ("encrypted", "encrypted"),
        ("climbs out", "climbs out"),
        ("no meta.csv", "no meta.csv"),
        ("column lacking", "heightspace"),
        ("too many bad chips", "--max-bad"),
    ],
)
def test_bad_archives_are_refused(tmp_path, kind, words):
    archive = tmp_path / "f.zip"
    archive.write_bytes(broken_fusar(kind))
    out = tmp_path / "out"
    if kind == "too many bad chips":  # each of them is named first
        done = run("--fusar", archive, "--out", out, expect=2)
        assert done.stderr.count("skipped") == 3
        assert words in done.stderr.splitlines()[-1]
        assert not out.exists()
        run("--fusar", archive, "--out", out, "--max-bad", "10")
    else:
        assert words in refused("--fusar", archive, out=out)


def test_more_refusals(archives, tmp_path):
    out = tmp_path / "out"
    assert "no such file" in refused("--fusar", tmp_path / "absent.zip", out=out)
    assert "--max-bytes" in refused("--fusar", archives[0], "--max-bytes", "1k", out=out)
    assert "Yacht 0" in refused("--fusar", archives[0], "--classes", "Cargo", "Yacht", out=out)
    assert "--spacing" in refused("--fusar", archives[0], "--spacing", "0", out=out)
    assert "--classes" in refused("--fusar", archives[0], "--classes", "Cargo", out=out)
    assert "--demo" in refused("--demo", "--fusar", archives[0], out=out)
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "meta.csv").symlink_to(archives[0])
    assert "link" in refused("--fusar", tmp_path / "link", out=out)
    (tmp_path / "linked.zip").write_bytes(official.zip_with_link("FUSAR_Ship1.0/meta.csv", "/etc/passwd"))
    assert "link" in refused("--fusar", tmp_path / "linked.zip", out=out)
    (tmp_path / "file").touch()
    run("--fusar", archives[0], "--out", tmp_path / "file", expect=2)


def test_ship_xml_that_is_missing_or_lacks_a_field(tmp_path):
    files = official.scene_files(official.GRD_DUAL)
    for kind, content in {"missing": None, "MMSI": files["Ship.xml"].replace(b"MMSI", b"IMO")}.items():
        changed = {**files, "Ship.xml": content} if content else {k: v for k, v in files.items() if k != "Ship.xml"}
        path = tmp_path / f"{kind}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{official.GRD_DUAL}.zip", official.zip_bytes(changed))
        line = refused("--opensarship", path, out=tmp_path / "out")
        assert "Ship.xml" in line
        assert official.GRD_DUAL in line


# -- the real scenes


def test_real_scenes_give_what_their_file_names_say(real_data, tmp_path):
    """The expectation comes from the names in the archives alone, by another route than the reader's."""
    scenes = sorted((real_data / "opensarship").glob("*.zip"))
    expected: Counter = Counter()
    for scene in scenes:
        if "_GRDH_" in scene.name:
            names = [Path(name).name for name in zipfile.ZipFile(scene).namelist() if "Patch_Uint8/" in name]
            single = "_1SSV_" in scene.name
            kept = [name for name in names if name.endswith("_vv.tif") or (single and name.endswith(".tif"))]
            expected.update(name.split("_")[1] for name in kept)
    run("--opensarship", real_data / "opensarship", "--allow-missing", "--out", tmp_path)
    manifest = read_dataset(tmp_path, "OpenSARShip").manifest
    assert Counter(manifest["class"]) == {name: expected[name] for name in ("Cargo", "Tanker")}
    assert (manifest["vessel"].str.len() == 9).all()
    assert manifest.groupby("vessel")["split"].nunique().max() == 1
