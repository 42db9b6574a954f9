"""dataset_prep.py with several processes: the same bytes as with one, whatever the archives hold, and no remains."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dataset_prep
from sarship.archives import open_source
from sarship.files import UNFINISHED
from sarship.preparation import Geometry
from sarship.prepared import read_dataset
from sarship.readers import UniqueNames
from sarship.readers.opensarship import read_opensarship
from tests import official
from tests.conftest import ROOT
from tests.test_dataset_prep import fusar, opensarship, refused, run


def saved(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(official.zip_bytes(files))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flawed_fusar() -> dict[str, bytes]:
    """With duplicates, unreadable chips, an id in two folders, and chips without a row."""
    files = fusar(40)
    names = sorted(name for name in files if name.endswith(".tiff"))
    top = "FUSAR_Ship1.0"
    files[names[3]], files[names[40]] = b"", b"no tiff"
    files[f"{top}/Cargo/Cargo/Ship_C00S01N0900.tiff"] = files[names[0]]
    files[f"{top}/Tanker/Tanker/Ship_C02S01N0900.tiff"] = files[names[1]]
    files[f"{top}/Tanker/Tanker/{names[5].rpartition('/')[2]}"] = official.tiff_bytes(official.chip_pixels(7000))
    return files


def scenes_of_one_name() -> dict[str, bytes]:
    """The same product twice, with other pixels at the same places: names come twice and chips are no duplicates."""
    scenes = opensarship()
    product = official.GRD_DUAL
    again = official.scene_files(product, tuple(("Cargo", x, 500 + x) for x in range(4)))
    moved = {name: official.tiff_bytes(official.chip_pixels(9000 + number)) for number, name in enumerate(again)}
    again |= {name: data for name, data in moved.items() if name.startswith("Patch_Uint8/")}
    return scenes | {f"{product}(1).zip": official.zip_bytes(again)}


@pytest.fixture(scope="module")
def flawed(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("flawed")
    return saved(folder / "f.zip", flawed_fusar()), saved(folder / "o.zip", scenes_of_one_name())


@pytest.fixture(scope="module")
def by_one(flawed, tmp_path_factory):
    out = tmp_path_factory.mktemp("one")
    return out, run("--fusar", flawed[0], "--opensarship", flawed[1], "--max-bad", 5, "--workers", 1, "--out", out)


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_bytes_and_lines(flawed, by_one, tmp_path, workers):
    words = ["--fusar", flawed[0], "--opensarship", flawed[1], "--max-bad", 5, "--out", tmp_path]
    done = run(*words, "--workers", workers)
    assert contents(tmp_path) == contents(by_one[0])
    assert done.stdout.replace(str(tmp_path), "") == by_one[1].stdout.replace(str(by_one[0]), "")
    assert done.stderr == by_one[1].stderr
    assert done.stderr.count("skipped") == 2
    assert "up to date" in run(*words, "--workers", 1).stdout, "workers are no setting of what is prepared"


def test_chips_and_their_sea_are_those_of_the_names_that_the_plain_reader_gives(flawed, by_one):
    """Names that come twice get a number, and the sea is drawn by the name with it."""
    prepared = read_dataset(by_one[0], "OpenSARShip")
    geometry = Geometry("metric", 512, 4, 1)
    with open_source(flawed[1], 1 << 30) as source:
        chips = {chip.name: chip for chip in read_opensarship(source, names=UniqueNames()) if hasattr(chip, "pixels")}
    assert set(prepared.manifest["chip"]) == set(chips)
    assert sum(name.endswith("-2") for name in chips) == 4
    for name, path in zip(prepared.manifest["chip"], prepared.paths, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(path)), geometry.apply(chips[name], name))


def test_a_damaged_chip_ends_it_with_one_line_behind_those_before(tmp_path):
    files = fusar(40)
    names = sorted(name for name in files if name.endswith(".tiff"))
    files[names[0]] = b""
    data = bytearray(official.zip_bytes(files, 0))
    place = data.index(files[names[100]])
    data[place + 200] ^= 1
    (tmp_path / "f.zip").write_bytes(data)
    said = [
        run("--fusar", tmp_path / "f.zip", "--workers", workers, "--out", tmp_path / "out", expect=2).stderr
        for workers in (1, 3)
    ]
    assert said[0] == said[1]
    assert "skipped" in said[0].splitlines()[0]
    assert "truncated or damaged" in said[0].splitlines()[1]
    assert not (tmp_path / "out").exists()


def test_all_scene_archives_count_against_max_bytes_whoever_opens_them(flawed, tmp_path):
    with open_source(flawed[1], 1 << 30) as source:
        outer = sum(entry.size for entry in source.entries())
        for entry in source.entries():
            source.open_nested(entry).close()
        total = sum(source.declared.values())
    assert total > outer
    lines = {
        refused("--opensarship", flawed[1], "--max-bytes", total - 1, "--workers", workers, out=tmp_path / "out")
        for workers in (1, 3)
    }
    assert len(lines) == 1
    assert f"{total:,} bytes" in lines.pop()


def test_workers_must_be_some(tmp_path):
    assert "--workers 0" in refused("--workers", 0, out=tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("whom", ["all", "worker"])
def test_when_it_is_stopped_nothing_is_left(tmp_path, whom):
    """Ctrl-C reaches all processes of the terminal; a worker that the system kills is missed by the first one."""
    archive = saved(tmp_path / "f.zip", fusar(200))
    command = [sys.executable, dataset_prep.__file__, "--fusar", archive, "--out", tmp_path / "out", "--workers", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list((tmp_path / "out").glob(f"{UNFINISHED}*/.staging/*.png")):
        assert process.poll() is None
        time.sleep(0.01)
    workers = _children(process.pid)
    assert len(workers) == 2
    if whom == "all":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == {"all": 130, "worker": 2}[whom]
    assert len(errors.strip().splitlines()) == 1, errors
    assert ("interrupted" if whom == "all" else "ended by signal 9") in errors
    assert not (tmp_path / "out").exists()
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def _children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
