"""The file of decoded chips: what it holds, when it is made again, and by how many at once."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sarship.command import UserError
from sarship.prepared import CACHE, read_dataset
from tests.conftest import ROOT
from tests.small import make_prepared

READ = "import sys; from pathlib import Path; from sarship.prepared import read_dataset; "
READ += "print(int(read_dataset(Path(sys.argv[1]), 'Fusar').pixels('train')[:].sum(dtype=int)))"


@pytest.fixture
def out(tmp_path):
    return make_prepared(tmp_path)


def cached(out, dataset="Fusar"):
    return list((out / CACHE).glob(f"{dataset}-*.npy"))


def every_png(prepared):
    return np.stack([np.asarray(Image.open(path)) for path in prepared.paths])


def test_it_holds_every_chip_in_the_order_of_the_manifest(out):
    prepared = read_dataset(out, "Fusar")
    splits = prepared.manifest["split"].to_numpy()
    for split in ("train", "val", "test"):
        assert np.array_equal(prepared.pixels(split), every_png(prepared)[splits == split])
    dealt = prepared.with_splits(np.resize(["train", "test"], len(splits)))  # no split follows the manifest's order
    assert np.array_equal(dealt.pixels("test"), every_png(prepared)[1::2])


def test_the_next_command_decodes_nothing(out):
    first = read_dataset(out, "Fusar").pixels("test")[:]
    for path in read_dataset(out, "Fusar").paths[1:]:
        path.unlink()
    assert np.array_equal(read_dataset(out, "Fusar").pixels("test"), first)


def test_writing_into_chips_changes_no_file(out):
    prepared = read_dataset(out, "Fusar")
    prepared.pixels("train")[:].fill(0)
    assert read_dataset(out, "Fusar").pixels("train")[:].any()


def test_another_manifest_gets_another_file_and_the_old_one_goes(out):
    read_dataset(out, "Fusar").pixels("train")
    read_dataset(out, "OpenSARShip").pixels("train")
    before, neighbour = cached(out), cached(out, "OpenSARShip")
    make_prepared(out, seed=1)
    prepared = read_dataset(out, "Fusar")
    assert np.array_equal(prepared.pixels("val"), every_png(prepared)[prepared.manifest["split"] == "val"])
    assert len(cached(out)) == 1 and cached(out) != before
    assert cached(out, "OpenSARShip") == neighbour


@pytest.mark.parametrize("damage", ["truncated", "no array", "another shape"])
def test_a_damaged_file_is_made_again_and_that_is_said(out, damage, capsys):
    first = read_dataset(out, "Fusar").pixels("train")[:]
    (path,) = cached(out)
    if damage == "another shape":
        np.save(path, np.zeros((3, 4), np.uint8))
    else:
        path.write_bytes(path.read_bytes()[:1000] if damage == "truncated" else b"nothing")
    assert np.array_equal(read_dataset(out, "Fusar").pixels("train"), first)
    assert f"{path}: is damaged" in capsys.readouterr().err


def test_a_chip_that_is_not_the_manifests_is_refused_and_nothing_is_kept(out):
    prepared = read_dataset(out, "Fusar")
    prepared.paths[3].write_bytes(prepared.paths[4].read_bytes())
    with pytest.raises(UserError, match=prepared.paths[3].name):
        prepared.pixels("train")
    assert list((out / CACHE).iterdir()) == []


def test_two_processes_at_once_get_the_same(out):
    command = [sys.executable, "-c", READ, str(out)]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate()[0].strip() for process in both}
    prepared = read_dataset(out, "Fusar")
    assert answers == {str(every_png(prepared)[prepared.manifest["split"] == "train"].astype(int).sum())}
    assert len(list((out / CACHE).iterdir())) == 1
