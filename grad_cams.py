"""Command 3: trained_models/ -> Exp_images/. Where each network looks, and whether that is the ship.

    python grad_cams.py                                       # every trained network, every test set, Grad-CAM
    python grad_cams.py --models CNN ResNet --tested Fusar --chips-per-class 5
    python grad_cams.py --method layercam --target true       # another method, for the true class

Writes Exp_images/<Dataset>/<Model>_<Trained>/ with chips (<Class>_o<i>.png), heatmaps over them (<Class>_hm<i>.png)
and a contact sheet; and Exp_images/attention.csv, which says for each chip how much of the heatmap lies on the ship,
beside what a uniform heatmap would give.
"""

import argparse
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from models import MODELS, ShipNetwork, load_trained
from sarship.attention import ship_mask
from sarship.cams import METHODS, activation_maps, attention_row, choose_chips
from sarship.command import UserError, command_parser, log, parse, run_command
from sarship.device import arrange_memory, choose_device
from sarship.files import whole_file, writable_folder
from sarship.locking import locked
from sarship.prepared import PreparedSet, list_datasets, read_dataset
from sarship.resplit import views
from sarship.runs import trained_networks
from sarship.sheets import Drawers, Sheet, drawers_for

LEAST_CELLS = 3  # a side: with two, the peak is always in a corner and never on the ship


@dataclass(frozen=True, eq=False)
class ChosenChips:
    """The chips of one test set that every network is shown, class by class."""

    dataset: str
    pixels: np.ndarray  # (chips, rows, cols[, 3]) uint8
    ships: np.ndarray  # (chips, rows, cols) bool: where the ship is; of scenes, nowhere
    names: list[str]
    classes: list[str]  # of each chip


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "python grad_cams.py --models CNN --tested OpenSARShip --method gradcam++")
    add = parser.add_argument
    # -- which networks, on what
    add("--models", nargs="+", choices=list(MODELS), default=list(MODELS), metavar="MODEL", help="networks to explain")
    add("--trained", nargs="+", metavar="DATASET", help="trained on these (without: on any)")
    add("--variants", nargs="+", metavar="VARIANT", help='as in scores.csv; "" is strict as it is (without: any)')
    add("--tested", nargs="+", metavar="DATASET", help="test sets (without: all that are prepared)")
    add("--chips-per-class", type=int, default=15, metavar="N", help="fewer where there are fewer")
    add("--seed", type=int, default=1, help="of the choice of chips")
    # -- how to explain
    add("--method", choices=list(METHODS), default="gradcam", help="scorecam and ablationcam take minutes a network")
    add("--target", choices=["predicted", "true"], default="predicted", help="class whose evidence is shown")
    add("--layer", metavar="NAME", help="layer to look at (without: each network's own, see models.py)")
    # -- on what
    add("--batch-size", type=int, metavar="N", help="chips at once (without: what suits the device)")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    chosen = parse(parser, "grad_cams", argv)
    if chosen.chips_per_class < 1 or (chosen.batch_size is not None and chosen.batch_size < 1):
        raise UserError("--chips-per-class and --batch-size must be 1 or more")
    return chosen


def chips_to_show(prepared: PreparedSet, per_class: int, seed: int) -> ChosenChips:
    rows = prepared.rows("test")
    by_class = choose_chips(rows["class"].to_numpy(), per_class, seed)
    for name in prepared.classes:
        if len(by_class.get(name, ())) < per_class:
            log(f"{prepared.name}: {len(by_class.get(name, ()))} test chips of {name}, not {per_class}")
    if not by_class:
        raise UserError(f"{prepared.folder}: has no test chips; run dataset_prep.py with another --split")
    indices = np.concatenate(list(by_class.values()))
    chosen, pixels = rows.iloc[indices], prepared.pixels("test")[indices]
    shows_ships = prepared.shows_ships
    ships = np.stack([ship_mask(chip) if shows_ships else np.zeros(chip.shape[:2], bool) for chip in pixels])
    return ChosenChips(prepared.name, pixels, ships, chosen["chip"].tolist(), chosen["class"].tolist())


def explain(
    network: ShipNetwork, meta: dict, stem: str, chips: ChosenChips, batch_size: int, chosen: argparse.Namespace
) -> tuple[list[dict], Sheet]:
    """Rows of attention.csv of one network and one test set, and what is to be drawn of them."""
    labels = labels_for(meta, stem, chips)
    layer = chosen.layer or network.cam_layer
    targets = labels if chosen.target == "true" else None
    uniform = meta["pooled_cam"] and chosen.layer is None
    maps = activation_maps(network, layer, chips.pixels, targets, chosen.method, batch_size, uniform)
    if min(maps.cells) < LEAST_CELLS:
        cells = "{} x {}".format(*maps.cells)
        log(f"warning: {stem}: a map of {layer} has {cells} cells, none in the middle; name an earlier --layer")
    run = {"trained": meta["trained"], "tested": chips.dataset, "model": meta["model"], "seed": meta["seed"]}
    run |= {"variant": meta["variant"]}
    predicted = [meta["classes"][index] for index in maps.probabilities.argmax(axis=1)]
    probabilities = maps.probabilities.max(axis=1).tolist()
    attention = [attention_row(ship, heat) for ship, heat in zip(chips.ships, maps.heat, strict=True)]
    rows = [
        run | {"chip": chip, "class": label, "predicted": answer, "probability": probability} | row
        for chip, label, answer, probability, row in zip(
            chips.names, chips.classes, predicted, probabilities, attention, strict=True
        )
    ]
    folder = chosen.out / "Exp_images" / chips.dataset / stem
    explained = "the true class" if chosen.target == "true" else "the predicted class"
    title = f"{stem} tested on {chips.dataset}: {chosen.method} of {layer} for {explained}"
    constant = [row["constant"] for row in attention]
    return rows, Sheet(
        folder, title, chips.pixels, maps.heat, chips.ships, chips.classes, predicted, probabilities, constant
    )


def labels_for(meta: dict, stem: str, chips: ChosenChips) -> np.ndarray:
    """(chips,) indices into the network's classes. UserError if the network was made for other classes or chips."""
    unknown = sorted(set(chips.classes) - set(meta["classes"]))
    size = (meta["image_size"], meta["image_size"])
    if unknown or chips.pixels.shape[1:3] != size:
        wrong = f"class {unknown[0]}" if unknown else "chips of {} x {} pixels".format(*chips.pixels.shape[1:3])
        raise UserError(f"trained_models/{stem}.pt: was not trained for {wrong} of {chips.dataset}; train it again")
    return np.array([meta["classes"].index(name) for name in chips.classes])


def summarise(attention: pd.DataFrame) -> str:
    """A table, one row a network and test set: mean share of the heatmap on the ship, in percent, and the uniform one.

    Chips without a ship that stands out, and maps that are constant, are counted and left out of the means.
    """
    lines = []
    for (model, trained, seed, tested), rows in attention.groupby(["model", "trained", "seed", "tested"], sort=False):
        counted = rows[rows["energy_on_ship"].notna()]
        means = 100 * counted[["energy_on_ship", "uniform_energy", "peak_on_ship", "uniform_peak"]].mean()
        counts = (len(rows), int((rows["ship_pixels"] == 0).sum()), int(rows["constant"].sum()))
        lines.append((model, trained, seed, tested, *means.map("{:.1f}".format), *counts))
    header = (
        "Model",
        "Trained",
        "Seed",
        "Tested",
        "Energy",
        "(uniform)",
        "Peak",
        "(uniform)",
        "Chips",
        "NoShip",
        "Constant",
    )
    return pd.DataFrame(lines, columns=header).to_string(index=False)


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    with locked(chosen.out, "prepared", shared=True), locked(chosen.out, "Exp_images"):
        explain_all(chosen)


def explain_all(chosen: argparse.Namespace) -> None:
    """All that the command does, alone on Exp_images."""
    prepared = {name: read_dataset(chosen.out, name) for name in list_datasets(chosen.out)}
    for name in set(chosen.tested or ()) - prepared.keys():
        raise UserError(f"--tested {name}: is not prepared; there are {', '.join(prepared)}")
    device = choose_device(chosen.device, "float32")
    paths = trained_networks(chosen.out, chosen.models, chosen.trained, chosen.variants)
    images = writable_folder(chosen.out / "Exp_images")
    tested = chosen.tested or list(prepared)
    chip_pixels = prepared[tested[0]].image_size ** 2
    batch_size = chosen.batch_size or device.chips_at_once(chip_pixels)
    arrange_memory(batch_size * chip_pixels)

    view = views(prepared)
    shown = cache(partial(chips_to_show, per_class=chosen.chips_per_class, seed=chosen.seed))

    rows, sheets = [], len(paths) * len(tested)
    with Drawers(drawers_for(sheets)) as drawers, tqdm(total=sheets, unit=" sheets", disable=None) as bar:
        for path in paths:
            network, meta = load_trained(path, device.name)
            network.to(memory_format=torch.channels_last)  # a quarter faster through convolutions on a CPU
            for name in tested:
                chips = shown(view(meta["settings"])[name])
                of_sheet, sheet = explain(network, meta, path.stem, chips, batch_size, chosen)
                drawers.draw(sheet)
                rows += of_sheet
                bar.update()
    attention = pd.DataFrame(rows)
    with whole_file(images / "attention.csv") as written:
        attention.to_csv(written, index=False, float_format="%.6g")
    if attention["ship_pixels"].any():
        print("Share of the heatmap on the ship, in percent: mean energy, and peaks; a uniform heatmap beside them")
        print(summarise(attention))
    constant = int(attention["constant"].sum())
    if constant:
        log(f"warning: {constant} of {len(attention)} heatmaps are constant: nothing in the layer speaks for the class")
    print(f"\nHeatmaps, contact sheets and attention.csv: {images}")


if __name__ == "__main__":
    run_command(main)
