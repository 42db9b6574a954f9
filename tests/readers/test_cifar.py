"""CIFAR-10's binary version: records become chips, and what is wrong is one line."""

import pickle
from collections import Counter

import numpy as np
import pytest

from sarship.archives import open_source
from sarship.command import UserError
from sarship.readers import EMPTY, Rejected, cifar, read_whole
from sarship.readers.cifar import RECORD_BYTES, CifarReader
from sarship.scene_sets import SCENE_SETS
from tests.official import write_files, zip_bytes
from tests.tars import tar_bytes

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FOLDER = "cifar-10-batches-bin"


def records(seed: int, count: int, label: int | None = None) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (count, RECORD_BYTES), dtype=np.uint8)
    values[:, 0] = np.arange(count) % 10 if label is None else label
    return values.tobytes()


def files(**changed: bytes | None) -> dict[str, bytes]:
    """The official files with a few records each; `changed` by what stands before the first dot of their names."""
    content = {f"data_batch_{number}.bin": records(number, 7) for number in range(1, 6)}
    content |= {"test_batch.bin": records(6, 12), "batches.meta.txt": "\n".join([*NAMES, "", ""]).encode()}
    content["readme.html"] = b"x"
    content |= {f"{name}.{'txt' if name == 'batches' else 'bin'}": data for name, data in changed.items()}
    if "batches" in changed:
        content["batches.meta.txt"] = content.pop("batches.txt")
    return {f"{FOLDER}/{name}": data for name, data in content.items() if data is not None}


def read(path, reader: CifarReader) -> list:
    with open_source(path, max_bytes=1 << 30) as source:
        return list(read_whole(reader, source))


def read_files(tmp_path, content: dict[str, bytes], reader: CifarReader | None = None) -> list:
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(tar_bytes(content, "gz"))
    return read(path, reader or CifarReader("CIFAR10"))


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tar.gz"])
def test_every_record_is_a_chip(tmp_path, form):
    path = tmp_path / f"cifar.{form}"
    if form == "folder":
        write_files(path, files())
    else:
        path.write_bytes(zip_bytes(files()) if form == "zip" else tar_bytes(files(), form[4:]))
    found = read(path, CifarReader("CIFAR10", known=SCENE_SETS["CIFAR10"]))
    assert Counter(chip.product for chip in found) == {"train": 35, "test": 12}
    chip = found[8]
    assert (chip.name, chip.category, chip.dataset) == ("automobile_data_batch_2_00001", "automobile", "CIFAR10")
    assert chip.source == f"cifar.{form}/{FOLDER}/data_batch_2.bin#1" and chip.sensor == "photographs"
    planes = np.frombuffer(records(2, 7), np.uint8)[RECORD_BYTES + 1 : 2 * RECORD_BYTES]
    assert chip.pixels.shape == (32, 32, 3) and chip.pixels.flags.c_contiguous
    for row, col, band in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (31, 31, 2), (5, 7, 1)]:
        assert chip.pixels[row, col, band] == planes[band * 1024 + row * 32 + col]
    assert len({chip.name for chip in found}) == len(found) == 47
    assert found[-1].name == "automobile_test_batch_00011"


def test_parts_are_pieces_of_files(tmp_path, monkeypatch):
    expected = read_files(tmp_path, files())
    monkeypatch.setattr(cifar, "RECORDS_PER_PART", 3)
    with open_source(tmp_path / "cifar-10-binary.tar.gz", 1 << 30) as source:
        parts = [pickle.loads(pickle.dumps(part)) for part in CifarReader("CIFAR10").parts(source)]
        assert len(parts) == 5 * 3 + 4
        found = [chip for part in parts for chip in part.chips(Counter())]
    assert [(chip.name, chip.fingerprint()) for chip in found] == [(chip.name, chip.fingerprint()) for chip in expected]


def test_grey_chips(tmp_path):
    in_colour, grey = (
        read_files(tmp_path, files(), CifarReader("CIFAR10", bands))[3].pixels for bands in ("rgb", "grey")
    )
    assert grey.shape == (32, 32)
    assert np.abs(grey - in_colour @ [0.299, 0.587, 0.114]).max() <= 1


def test_a_record_of_one_colour_is_empty(tmp_path):
    flat = np.repeat(np.array([3, *([40] * 1024), *([50] * 1024), *([60] * 1024)], np.uint8)[None], 1, axis=0).tobytes()
    found = read_files(tmp_path, files(test_batch=flat))
    assert isinstance(found[-1], Rejected) and found[-1].reason == EMPTY
    assert found[-1].source.endswith("test_batch.bin#0")


def test_fewer_images_than_published_are_warned_of(tmp_path, capsys):
    read_files(tmp_path, files(), CifarReader("CIFAR10", known=SCENE_SETS["CIFAR10"]))
    assert capsys.readouterr().err == (
        "cifar-10-binary.tar.gz: has 47 images, CIFAR10 (cifar-10-binary.tar.gz) has 60,000\n"
    )


WRONG = {
    "no batch": ({f"{FOLDER}/batches.meta.txt": b"cat\n", "data_batch_1": b"x"}, "holds no data_batch_1.bin"),
    "no names": (files(batches=None), "holds no batches.meta.txt"),
    "names that are none": (files(batches=b"../up\ncat\n"), "'../up' is no class name"),
    "binary names": (files(batches=b"\xff\xfe\x00"), "is no class name"),
    "no name at all": (files(batches=b"\n\n"), "'' is no class name"),
    "half a record": (
        files(data_batch_3=records(1, 3)[:-1]),
        "data_batch_3.bin: has 9,218 bytes, which are no records",
    ),
    "no record": (files(test_batch=b""), "test_batch.bin: has 0 bytes, which are no records of 3,073"),
    "a label without a name": (
        files(data_batch_2=records(1, 2) + records(2, 1, label=10)),
        "data_batch_2.bin: record 2 has label 10, batches.meta.txt names 10",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_one_line(tmp_path, what):
    content, expected = WRONG[what]
    with pytest.raises(UserError) as caught:
        read_files(tmp_path, content)
    assert str(caught.value).startswith("cifar-10-binary.tar.gz") and expected in str(caught.value)
    assert "\n" not in str(caught.value)
