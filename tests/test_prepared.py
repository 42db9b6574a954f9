"""The prepared folder as the other commands read it."""

import pytest

from sarship.command import UserError
from sarship.prepared import list_datasets, read_dataset, read_options
from tests.small import CLASSES, COUNTS, make_prepared


@pytest.fixture
def out(tmp_path):
    return make_prepared(tmp_path, ("OpenSARShip", "Fusar"))


def test_pixels_labels_and_rows_come_in_one_order(out):
    prepared = read_dataset(out, "Fusar")
    rows, pixels = prepared.rows("train"), prepared.pixels("train")
    labels = prepared.labels("train", list(CLASSES))
    assert len(rows) == len(pixels) == len(labels) == COUNTS["train"] * len(CLASSES)
    lengths = (pixels[:, :, 16] == 200).sum(axis=1)  # the bar of class k is 2 (2 + 5 k) pixels long
    assert (lengths == 2 * (2 + 5 * labels)).all()
    assert [CLASSES[label] for label in labels] == rows["class"].tolist()
    assert prepared.image_size == 32
    assert list_datasets(out) == ["Fusar", "OpenSARShip"]


def test_text_stays_text(out):
    path = out / "prepared" / "Fusar" / "manifest.csv"
    path.write_text(path.read_text().replace("FusartrainCargo0", "012345678"))
    vessels = read_dataset(out, "Fusar").manifest["vessel"]
    assert "012345678" in set(vessels)


def test_the_fingerprint_follows_the_manifest(out):
    prepared = read_dataset(out, "Fusar")
    before = prepared.fingerprint()
    path = prepared.folder / "manifest.csv"
    path.write_text(path.read_text().replace("FusartrainCargo0", "412345678"))
    assert read_dataset(out, "Fusar").fingerprint() != before


@pytest.mark.parametrize("damage", ["lost", "truncated", "another size"])
def test_a_damaged_chip_is_named(out, damage):
    prepared = read_dataset(out, "Fusar")
    path = next((prepared.folder / "test" / "Cargo").iterdir())
    if damage == "lost":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    else:
        make_prepared(out / "other", ("Fusar",), size=48)
        path.write_bytes((out / "other" / path.relative_to(out)).read_bytes())
    with pytest.raises(UserError, match=rf"{path.name}.*--overwrite"):
        prepared.pixels("test")


def test_a_manifest_that_is_missing_empty_or_lacks_a_column(out):
    with pytest.raises(UserError, match="is not prepared"):
        read_dataset(out, "Mixed")
    path = out / "prepared" / "Fusar" / "manifest.csv"
    header, rest = path.read_text().split("\n", 1)
    path.write_text(header.replace("vessel", "ship") + "\n" + rest)
    with pytest.raises(UserError, match="lacks column vessel"):
        read_dataset(out, "Fusar")
    path.write_text(header + "\n")
    with pytest.raises(UserError, match="has no chips"):
        read_dataset(out, "Fusar")
    path.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        read_dataset(out, "Fusar")


def test_nothing_prepared_and_options_that_do_not_say(tmp_path):
    with pytest.raises(UserError, match="run dataset_prep"):
        list_datasets(tmp_path)
    with pytest.raises(UserError, match="--overwrite"):
        read_options(tmp_path)
