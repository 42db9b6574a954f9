"""Command 1 on land-use scenes, and what comes after it, in colour, as a user runs it."""

import io

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

import grad_cams
import test_models
from sarship.prepared import read_dataset, read_manifest
from tests import scene_archives
from tests.test_dataset_prep import refused, run

COUNTS = {"Forest": 23, "River": 20, "Town": 31}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return scene_archives.zipped(tmp_path_factory.mktemp("raw") / "set.zip", scene_archives.files(COUNTS))


@pytest.fixture(scope="module")
def prepared(archive, tmp_path_factory):
    """--out of a prepared set, and what the command said."""
    out = tmp_path_factory.mktemp("scenes")
    return out, run("--scenes", f"Land={archive}", "--train-percent", 70, "--val-percent", 20, "--out", out)


def bytes_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_ratio_holds_per_class_to_one_image(prepared):
    manifest = read_manifest(prepared[0] / "prepared" / "Land" / "manifest.csv")
    counts = manifest.groupby(["class", "split"]).size().unstack()
    for name, count in COUNTS.items():
        assert abs(counts.loc[name, "train"] + counts.loc[name, "val"] - 0.7 * count) <= 0.5
        assert counts.loc[name, "val"] == round(0.2 * (counts.loc[name, "train"] + counts.loc[name, "val"]))
    assert len(manifest) == sum(COUNTS.values())


def test_images_keep_their_colours_and_the_odd_one_is_resized_and_counted(prepared):
    out, said = prepared
    assert "74 images, 73 of them 40 x 40 pixels; 1 resized to 40 x 40" in said.stdout
    land = read_dataset(out, "Land")
    assert (land.bands, land.image_size, land.shows_ships) == ("rgb", 40, False)
    for name, colour in scene_archives.COLOURS.items():
        rows = land.rows("train")
        pixels = land.pixels("train")[rows["class"] == name]
        assert pixels.shape[1:] == (40, 40, 3)
        assert np.abs(np.median(pixels, axis=(0, 1, 2)) - colour).max() < 8
    odd = land.manifest[land.manifest["rows"] == "39"]
    assert odd["chip"].tolist() == ["forest00"]


def test_prepared_twice_by_any_number_of_workers_gives_the_same_bytes(prepared, archive, tmp_path):
    for workers in (1, 2):
        out = tmp_path / str(workers)
        run("--scenes", f"Land={archive}", "--train-percent", 70, "--val-percent", 20, "--out", out,
            "--workers", workers)  # fmt: skip
        assert bytes_below(out / "prepared") == bytes_below(prepared[0] / "prepared")


def test_done_once_it_is_up_to_date_and_another_option_is_named(prepared, archive):
    out = prepared[0]
    same = ("--scenes", f"Land={archive}", "--train-percent", 70, "--val-percent", 20)
    assert "up to date" in run(*same, "--out", out).stdout
    assert "--train-percent 70.0, not 60.0" in refused(*same, "--train-percent", 60, out=out)


def test_grey_and_a_smaller_size_on_request(archive, tmp_path):
    run("--scenes", f"Land={archive}", "--bands", "grey", "--size", 32, "--out", tmp_path)
    land = read_dataset(tmp_path, "Land")
    assert land.bands == "grey"
    assert land.pixels("test").shape[1:] == (32, 32)


def test_joined_sets_share_their_classes_and_no_name(archive, tmp_path):
    other = scene_archives.zipped(tmp_path / "other.zip", scene_archives.files(COUNTS, seed=1, wrapper="x"))
    words = ("--scenes", f"Land={archive}", f"Coast={other}", "--out", tmp_path)
    run(*words, "--join")
    sets = {name: read_manifest(tmp_path / "prepared" / name / "manifest.csv") for name in ("Land", "Coast", "Mixed")}
    assert len(sets["Mixed"]) == len(sets["Land"]) + len(sets["Coast"]) == 2 * sum(COUNTS.values())
    assert sets["Mixed"]["chip"].is_unique
    parts = pd.concat([sets["Land"], sets["Coast"]]).set_index("chip")["split"]
    assert sets["Mixed"].set_index("chip")["split"].sort_index().equals(parts.sort_index())


def test_sets_of_other_classes_are_not_prepared_together(archive, tmp_path):
    other = scene_archives.zipped(tmp_path / "other.zip", scene_archives.files({"Forest": 9, "Town": 9}, seed=3))
    out = tmp_path / "out"
    assert "River" in refused("--scenes", f"Land={archive}", f"Coast={other}", out=out)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--scenes", "Land"], "NAME=PATH"),
        (["--scenes", "UCMercedd={archive}"], "UCMerced"),
        (["--scenes", "Fusar={archive}"], "Fusar"),
        (["--scenes", "Land={missing}"], "missing.zip"),
        (["--scenes", "Land={archive}", "--level", "subcategory"], "--level"),
        (["--scenes", "Land={archive}", "--split", "vessel"], "--split vessel"),
        (["--scenes", "Land={archive}", "--split", "place"], "coordinates"),
        (["--scenes", "Land={archive}", "--split", "official"], "official"),
        (["--scenes", "Land={archive}", "--size", "16"], "--size 16"),
        (["--scenes", "Land={archive}", "--train-percent", "100"], "--train-percent"),
        (["--scenes", "Land={archive}", "--join"], "--join"),
        (["--scenes", "Land={archive}", "--white", "0"], "--white 0"),
        (["--train-percent", "50"], "--train-percent: needs --scenes"),
    ],
)
def test_mistakes_are_named_in_one_line(words, named, archive, tmp_path):
    filled = [word.format(archive=archive, missing=tmp_path / "missing.zip") for word in words]
    assert named in refused(*filled, out=tmp_path / "out")


def cmyk(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert("CMYK").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def palette(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).quantize(200).save(buffer, "PNG")
    return buffer.getvalue()


def sixteen_bit(pixels):
    """A grey 16-bit PNG from 0 to 60,000."""
    buffer = io.BytesIO()
    Image.fromarray((pixels[:, :, 0].astype(int) * 60_000 // 255).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def animated(pixels):
    frames = [Image.fromarray(np.roll(pixels, shift, axis=0)) for shift in range(3)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def test_odd_images_are_converted_or_left_out_and_counted(tmp_path):
    content = scene_archives.files({"Forest": 30, "River": 30})
    generator = np.random.default_rng(7)
    pixels = {name: scene_archives.scene("River", (40, 40), generator) for name in ("cmyk", "palette", "sixteen")}
    content["Set/Images/River/cmyk.jpg"] = cmyk(pixels["cmyk"])
    content["Set/Images/River/palette.png"] = palette(pixels["palette"])
    content["Set/Images/River/sixteen.png"] = sixteen_bit(pixels["sixteen"])
    content["Set/Images/River/moving.gif"] = animated(pixels["cmyk"])
    content["Set/Images/River/cut.png"] = content["Set/Images/River/river01.png"][:-900]
    content["Set/Images/River/notes.txt"] = b"no image"
    archive = scene_archives.zipped(tmp_path / "odd.zip", content)
    done = run("--scenes", f"Land={archive}", "--max-bad", 10, "--out", tmp_path)
    land = read_dataset(tmp_path, "Land")
    assert len(land.manifest) == 63
    for name in ("moving.gif", "cut.png"):
        assert name in done.stderr
    assert "notes.txt" not in done.stderr
    decoded = {row["chip"]: np.asarray(Image.open(path)) for row, path in zip(
        land.manifest.to_dict("records"), land.paths, strict=True)}  # fmt: skip
    for name in ("cmyk", "palette"):
        chip = next(value for key, value in decoded.items() if key.endswith(name))
        assert np.abs(chip.mean(axis=(0, 1)) - pixels[name].mean(axis=(0, 1))).max() < 12
    scaled = next(value for key, value in decoded.items() if key.endswith("sixteen"))
    assert np.abs(scaled[:, :, 0] - pixels["sixteen"][:, :, 0] * (60_000 / 65_535)).max() < 2


def test_an_empty_class_is_named_and_left_out(tmp_path):
    folder = tmp_path / "source"
    for name, data in scene_archives.files(COUNTS, wrapper=".").items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "Desert").mkdir()
    done = run("--scenes", f"Land={folder}", "--out", tmp_path / "out")
    assert "Desert" in done.stderr
    assert read_dataset(tmp_path / "out", "Land").classes == list(scene_archives.CLASSES)


def test_a_known_set_with_another_class_count_is_prepared_with_a_warning(archive, tmp_path):
    done = run("--scenes", f"UCMerced={archive}", "--size", 40, "--out", tmp_path)
    assert "21" in done.stderr
    assert (tmp_path / "prepared" / "UCMerced" / "manifest.csv").exists()


def test_cifar_has_its_official_test_set(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for batch in ("data_batch_1", "test_batch"):
        records = [bytes([index % 3]) + generator.bytes(3072) for index in range(60)]
        (folder / f"{batch}.bin").write_bytes(b"".join(records))
    (folder / "batches.meta.txt").write_text("bird\ncat\ndog\n")
    run("--scenes", f"CIFAR10={folder}", "--split", "official", "--out", tmp_path / "out")
    manifest = read_manifest(tmp_path / "out" / "prepared" / "CIFAR10" / "manifest.csv")
    assert (manifest["product"] == "test").equals(manifest["split"] == "test")
    assert manifest["split"].value_counts().to_dict() == {"test": 60, "train": 54, "val": 6}


def test_networks_and_heatmaps_take_colour(prepared):
    out = prepared[0]
    words = ["--out", str(out), "--models", "CNN", "--epochs", "4", "--batch-size", "8", "--device", "cpu"]
    test_models.main(words)
    scores = pd.read_csv(out / "scores.csv").set_index("Model")
    assert {"Forest-F1", "River-F1", "Town-F1"} <= set(scores.columns)
    assert scores.loc["CNN", "Accuracy"] > 90  # three colours: anything less has lost them
    grad_cams.main(["--out", str(out), "--chips-per-class", "2", "--device", "cpu"])
    folder = out / "Exp_images" / "Land" / "CNN_Land"
    assert np.asarray(Image.open(folder / "Forest_o1.png")).shape == (40, 40, 3)
    assert (pd.read_csv(out / "Exp_images" / "attention.csv")["ship_pixels"] == 0).all()


def test_real_scenes(real_data, tmp_path):
    archive = real_data / "scenes" / "UCMerced_LandUse_subset.zip"
    done = run("--scenes", f"UCMerced={archive}", "--size", 32, "--out", tmp_path)
    manifest = read_manifest(tmp_path / "prepared" / "UCMerced" / "manifest.csv")
    assert manifest["class"].nunique() == 21
    counts = manifest.groupby("class")["split"].value_counts().unstack()
    assert (counts["test"] == 8).all()
    assert "840" in done.stdout
    with Image.open(tmp_path / "prepared" / "UCMerced" / "summary.png") as image:
        assert min(image.size) > 1000


def test_places_are_never_torn_apart(tmp_path):
    """GeoTIFFs on a grid of places, several images each."""
    folder = tmp_path / "source"
    for number in range(90):
        name = scene_archives.CLASSES[number % 3]
        path = folder / name / f"{name}_{number}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        place = number // 6
        _write_geotiff(path, 500_000 + 10_000 * place + 640 * (number % 6), 5_600_000.0, seed=number)
    run("--scenes", f"EuroSAT_MS={folder}", "--split", "place", "--size", 64, "--out", tmp_path / "out")
    manifest = read_manifest(tmp_path / "out" / "prepared" / "EuroSAT_MS" / "manifest.csv")
    assert manifest["scene"].nunique() >= 15
    assert manifest.groupby("scene")["split"].nunique().max() == 1
    assert (manifest["split"] == "test").mean() == pytest.approx(0.2, abs=0.07)


def _write_geotiff(path, east_m: float, north_m: float, seed: int) -> None:
    """13 bands of uint16 reflectance, 10 m pixels, in UTM zone 32 north (EPSG:32632)."""
    bands = np.random.default_rng(seed).integers(200, 2500, (64, 64, 13)).astype(np.uint16)
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, east_m, north_m, 0.0), True),
        (34735, "H", len(keys), keys, True),
    ]
    tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="contig", extratags=tags, metadata=None)


def test_the_ships_options_stay_as_they_were(tmp_path):
    """options.json of ships names no option of scenes."""
    run("--demo", "--demo-chips", 60, "--extent", 512, "--spacing", 16, "--out", tmp_path)
    text = (tmp_path / "prepared" / "options.json").read_text()
    assert '"split": "vessel"' in text
    for name in ("scenes", "train_percent", "val_percent", "bands", "white", "join"):
        assert f'"{name}"' not in text
