"""Command: looks inside trained networks, and at what they get wrong. Exp_images/interpret/<run>/, figures and CSV.

    python interpret.py layers                                        # what each layer costs
    python interpret.py layers --models VGG --size 224 --classes 10   # of a network that nobody has trained yet
    python interpret.py filters --models CNN                          # kernels of the first layer, dead filters
    python interpret.py activations --tested Fusar                    # maps of each stage, dead units
    python interpret.py top --layer features.6 --units 3 17           # the chips that excite each unit most
    python interpret.py tsne --chips 500 --perplexity 20              # dense layers, by class and by data set
    python interpret.py errors --tested Mixed                         # hardest classes, confusions, mistakes, bias

Each part has its own --help. Without options it looks at every trained network below --out, on every test set.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from models import MODELS, ShipNetwork, build, frozen_layers, load_trained
from sarship.cams import choose_chips
from sarship.command import UserError, log, parse, parts_parser, run_command
from sarship.device import arrange_memory, choose_device
from sarship.files import whole_file
from sarship.interpretation import activations, error_figures, errors, filters, layers, top, tsne
from sarship.interpretation.choosing import Tally, check_chips
from sarship.interpretation.outputs import NoSuchLayer
from sarship.locking import locked
from sarship.names import BASELINES, run_stem
from sarship.prepared import SPLITS, PreparedSet, list_datasets, read_dataset
from sarship.resplit import views
from sarship.runs import model_path, read_run, trained_networks
from sarship.scores import SetResult, read_predictions

MOST_UNITS_NAMED = 40  # rows of a sheet that can still be looked at


def options(argv: list[str] | None = None) -> argparse.Namespace:
    example = "python interpret.py top --models CNN --tested Fusar"
    parser, parsers = parts_parser(__doc__, example, {name: part.does for name, part in PARTS.items()})
    for name, part in PARTS.items():
        part.add_options(parsers[name])
    chosen = parse(parser, "interpret", argv)
    for name in ("size", "classes", "batch_size", "chips_per_class", "maps", "chips_per_unit", "chips", "mistakes"):
        value = getattr(chosen, name, None)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be 1 or more")
    return chosen


def add_networks(parser: argparse.ArgumentParser, baselines: tuple[str, ...] = ()) -> None:
    names = [*MODELS, *baselines]
    add = parser.add_argument
    add("--models", nargs="+", choices=names, default=names, metavar="MODEL", help="networks to look at")
    add("--trained", nargs="+", metavar="DATASET", help="trained on these (without: on any)")
    add("--variants", nargs="+", metavar="VARIANT", help='as in scores.csv; "" is strict as it is (without: any)')


def add_chips(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tested", nargs="+", metavar="DATASET", help="data sets (without: all that are prepared)")


def add_device(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--batch-size", type=int, metavar="N", help="chips at once (without: what suits the device)")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")


# -- what the parts share


def folder_of(chosen: argparse.Namespace, stem: str) -> Path:
    return chosen.out / "Exp_images" / "interpret" / stem


def write_table(table: pd.DataFrame, path: Path) -> None:
    with whole_file(path) as written:
        table.to_csv(written, index=False, float_format="%.6g", lineterminator="\n")


def read_sets(chosen: argparse.Namespace) -> dict[str, PreparedSet]:
    """All prepared sets by name. UserError if one that was asked for is not there."""
    prepared = {name: read_dataset(chosen.out, name) for name in list_datasets(chosen.out)}
    for name in chosen.tested or ():
        if name not in prepared:
            raise UserError(f"--tested {name}: is not prepared; there are {', '.join(prepared)}")
    return prepared


@dataclass(frozen=True, eq=False)
class Looked:
    """A trained network and the prepared sets to show it, as its run splits them."""

    stem: str
    network: ShipNetwork
    meta: dict
    sets: Mapping[str, PreparedSet]
    batch_size: int


def on_every_network(chosen: argparse.Namespace, work: Callable[[argparse.Namespace, Looked], None]) -> None:
    """Calls `work` for each trained network that the options ask for."""
    prepared = read_sets(chosen)
    view = views(prepared)
    paths = trained_networks(chosen.out, chosen.models, chosen.trained, chosen.variants)
    device = choose_device(chosen.device, "float32")
    tested = chosen.tested or list(prepared)
    chip_pixels = prepared[tested[0]].image_size ** 2
    batch_size = chosen.batch_size or device.chips_at_once(chip_pixels)
    arrange_memory(batch_size * chip_pixels)
    tally = Tally()
    for path in paths:
        with tally.one(path.stem):
            network, meta = load_trained(path, device.name)
            network.to(memory_format=torch.channels_last)  # a quarter faster through convolutions on a CPU
            sets = {name: view(meta["settings"])[name] for name in tested}
            for each in sets.values():
                check_chips(each, meta, path.stem)
            work(chosen, Looked(path.stem, network, meta, sets, batch_size))
    tally.check()


def rows_with_chips(prepared: PreparedSet, split: str) -> pd.DataFrame:
    """The manifest rows of a split. UserError if there are none."""
    rows = prepared.rows(split)
    if rows.empty:
        raise UserError(f"{prepared.folder}: has no {split} chips; run dataset_prep.py with another --split")
    return rows


# -- layers


def add_layers(parser: argparse.ArgumentParser) -> None:
    add_networks(parser)
    add = parser.add_argument
    add("--size", type=int, metavar="PIXELS", help="of --models as models.py has them, for chips of this size")
    add("--classes", type=int, metavar="N", help="with --size")
    add("--heads", choices=["fitted", "published"], default="fitted", help="with --size")


def networks_to_count(chosen: argparse.Namespace) -> Iterator[tuple[str, ShipNetwork, int]]:
    """Stem, network and chip size: of the table of models with --size, else of the trained ones."""
    if (chosen.size is None) != (chosen.classes is None):
        raise UserError("--size and --classes go together: give both, or none for the trained networks")
    if chosen.size is None:
        for path in trained_networks(chosen.out, chosen.models, chosen.trained, chosen.variants):
            network, meta = load_trained(path)
            # What is frozen keeps nothing for the way back.
            network.freeze(frozen_layers(network, meta["model"], "+" in meta["trained"], meta["settings"]))
            yield path.stem, network, meta["image_size"]
        return
    for name in chosen.models:
        with torch.device("meta"):  # to be counted: no weights are drawn
            network = build(name, chosen.classes, chosen.size, chosen.heads)
        heads = "" if chosen.heads == "fitted" else f"_{chosen.heads}-heads"
        yield f"{name}_untrained_{chosen.size}px_{chosen.classes}classes{heads}", network, chosen.size


def count_layers(chosen: argparse.Namespace) -> None:
    for stem, network, image_size in networks_to_count(chosen):
        costs = layers.layer_costs(network, image_size)
        folder = folder_of(chosen, stem)
        write_table(costs, folder / "layers.csv")
        layers.draw_costs(costs, folder / "layers.png", f"{stem}, chips of {image_size} x {image_size} pixels")
        print(f"{stem}: {layers.summary_line(costs)}")


# -- filters


def show_filters(chosen: argparse.Namespace) -> None:
    tally = Tally()
    for path in trained_networks(chosen.out, chosen.models, chosen.trained, chosen.variants):
        with tally.one(path.stem):
            network, _ = load_trained(path)
            norms, folder = filters.filter_norms(network), folder_of(chosen, path.stem)
            filters.draw_filters(*filters.first_kernels(network), folder / "filters.png", path.stem)
            write_table(norms, folder / "filters.csv")
            print(f"{path.stem}: {filters.summary_line(norms)}")
    tally.check()


# -- activations


def add_activations(parser: argparse.ArgumentParser) -> None:
    add_networks(parser)
    add_chips(parser)
    add = parser.add_argument
    add("--layers", nargs="+", metavar="NAME", help="as interpret.py layers lists them (without: each stage's last)")
    add("--chips-per-class", type=int, default=2, metavar="N", help="chips whose maps are shown")
    add("--maps", type=int, default=10, metavar="N", help="units of each layer that are shown")
    add("--seed", type=int, default=1, help="of the choice of chips")
    add_device(parser)


def show_activations(chosen: argparse.Namespace, looked: Looked) -> None:
    """Maps of a few test chips, a picture a layer; statistics of every unit over all test chips."""
    with torch.device("meta"):  # only to look up its stages: no weights are drawn
        stages = MODELS[looked.meta["model"]].backbone().stages
    names = chosen.layers or activations.stage_layers(looked.network, stages)
    for tested, prepared in looked.sets.items():
        classes = rows_with_chips(prepared, "test")["class"].to_numpy()
        of_class = choose_chips(classes, chosen.chips_per_class, chosen.seed)
        shown, pixels = np.concatenate(list(of_class.values())), prepared.pixels("test")
        units = activations.unit_statistics(looked.network, names, pixels, looked.batch_size)
        maps = activations.maps_of(looked.network, names, pixels[shown], looked.batch_size)
        folder = folder_of(chosen, looked.stem) / f"activations_{tested}"
        for name, of_layer in maps.items():
            title = f"{looked.stem} on {tested}: {name}"
            activations.draw_maps(of_layer, pixels[shown], classes[shown], chosen.maps, folder / f"{name}.png", title)
        write_table(units, folder / "units.csv")
        print(f"{looked.stem} on {tested}, {len(pixels)} chips: {activations.summary_line(units)}")


# -- top


def add_top(parser: argparse.ArgumentParser) -> None:
    add_networks(parser)
    add_chips(parser)
    add = parser.add_argument
    add("--split", choices=SPLITS, default="test", help="which chips")
    add("--layer", metavar="NAME", help="as interpret.py layers lists them (without: the one Grad-CAM looks at)")
    add("--units", nargs="+", type=int, metavar="N",
        help=f"to show (without: {top.SHEET_UNITS}, evenly spread); the CSV file has all")  # fmt: skip
    add("--chips-per-unit", type=int, default=9, metavar="N")
    add_device(parser)


def show_top(chosen: argparse.Namespace, looked: Looked) -> None:
    layer = chosen.layer or looked.network.cam_layer
    for name, prepared in looked.sets.items():
        rows, pixels = rows_with_chips(prepared, chosen.split), prepared.pixels(chosen.split)
        found = top.top_chips(looked.network, layer, pixels, chosen.chips_per_unit, looked.batch_size)
        units = chosen.units or top.units_to_show(found)
        check_units(units, found.chips.shape[1], layer)
        where = name if chosen.split == "test" else f"{name}_{chosen.split}"
        folder, classes = folder_of(chosen, looked.stem), rows["class"].tolist()
        write_table(top.top_table(found, rows), folder / f"top_{layer}_{where}.csv")
        title = f"{looked.stem}: the chips of {name} ({chosen.split}) that excite units of {layer} most"
        top.draw_top(found, pixels, classes, units, folder / f"top_{layer}_{where}.png", title)
        print(f"{looked.stem} on {where}, {layer}: {top.summary_line(found, classes)}")


def check_units(units: list[int], count: int, layer: str) -> None:
    """UserError for units that the layer does not have, or more than a sheet can show."""
    for unit in units:
        if not 0 <= unit < count:
            raise UserError(f"--units {unit}: {layer} has units 0 to {count - 1}")
    if len(units) > MOST_UNITS_NAMED:
        raise UserError(f"--units: {len(units)} are too many for a picture; name {MOST_UNITS_NAMED} at most")


# -- tsne


def add_tsne(parser: argparse.ArgumentParser) -> None:
    add_networks(parser)
    add_chips(parser)
    add = parser.add_argument
    add("--chips", type=int, default=1000, metavar="N", help="test chips at most, evenly over all data sets")
    add("--perplexity", type=float, default=30, help="how many neighbours a chip has, about")
    add("--seed", type=int, default=1, help="of t-SNE")
    add_device(parser)


def show_tsne(chosen: argparse.Namespace, looked: Looked) -> None:
    cloud = tsne.gather(looked.sets, chosen.chips)
    names = tsne.dense_layers(looked.network)
    outputs = tsne.dense_outputs(looked.network, names, cloud.pixels, looked.batch_size)
    folder = folder_of(chosen, looked.stem)
    tables, figures = [], []
    for name, features in outputs.items():
        if np.ptp(features, axis=0).max() == 0:
            log(f"{looked.stem}: {name} gives the same for every chip, and is left out")
            continue
        places = tsne.embed(features, chosen.perplexity, chosen.seed)
        of_layer = tsne.neighbour_rows(name, features, cloud.rows)
        title = (
            f"{looked.stem}: {name}, {features.shape[1]} wide; {len(places)} test chips, "
            f"t-SNE with perplexity {chosen.perplexity:g}, seed {chosen.seed}"
        )
        tsne.draw_cloud(places, cloud.rows, of_layer, folder / f"tsne_{name.replace(' ', '_')}.png", title)
        tables.append(cloud.rows[["chip", "dataset", "class"]].assign(layer=name, x=places[:, 0], y=places[:, 1]))
        figures += of_layer
    if not tables:
        raise NoSuchLayer("every dense layer gives the same for every chip")
    write_table(pd.concat(tables, ignore_index=True), folder / "tsne.csv")
    neighbours = pd.DataFrame(figures, columns=tsne.NEIGHBOUR_COLUMNS)
    write_table(neighbours, folder / "neighbours.csv")
    print(f"{looked.stem}, {len(cloud.rows)} chips: percent that nearest neighbours tell (and by chance)")
    print(tsne.summary_table(neighbours))


# -- errors


def add_errors(parser: argparse.ArgumentParser) -> None:
    add_networks(parser, BASELINES)
    add_chips(parser)
    add = parser.add_argument
    add("--mistakes", type=int, default=24, metavar="N", help="of the most confident ones, on the sheet")


def show_errors(chosen: argparse.Namespace) -> None:
    prepared = read_sets(chosen)
    view = views(prepared)
    results = [result for result in read_predictions(chosen.out / "predictions.csv") if is_asked_for(result, chosen)]
    if not results:
        raise UserError(f"{chosen.out / 'predictions.csv'}: has no such run; ask for other --models or --tested")
    for result in results:
        if result.tested not in prepared:
            log(f"predictions.csv: {result.model} was tested on {result.tested}, which is not prepared; left out")
            continue
        stem = run_stem(result.model, result.trained, result.variant, result.seed)
        settings = settings_of(model_path(chosen.out, stem))
        show_errors_of(result, stem, settings, view(settings) if settings else prepared, chosen)


def is_asked_for(result: SetResult, chosen: argparse.Namespace) -> bool:
    asked = ((result.trained, chosen.trained), (result.tested, chosen.tested), (result.variant, chosen.variants))
    return result.model in chosen.models and all(not wanted or value in wanted for value, wanted in asked)


def settings_of(path: Path) -> dict:
    """The settings of a run, by which its chips were dealt; none without a model file: they are as prepared."""
    return read_run(path)["meta"]["settings"] if path.exists() else {}


def show_errors_of(
    result: SetResult, stem: str, settings: dict, sets: Mapping[str, PreparedSet], chosen: argparse.Namespace
) -> None:
    """Tables, figure and sheet of one run on one test set."""
    tested, target = sets[result.tested], result.trained.rpartition("+")[2]
    trained_on = errors.training_chips(settings, sets[target], result.seed) if target in sets else {}
    tables = errors.tables_of(result, tested.rows("test"), trained_on)
    folder = folder_of(chosen, stem) / f"errors_{result.tested}"
    for name in errors.TABLES:
        write_table(getattr(tables, name), folder / f"{name}.csv")
    error_figures.draw_errors(tables, folder / "errors.png", f"{stem} tested on {result.tested}")
    worst = tables.mistakes.head(chosen.mistakes)
    if len(worst):
        title = f"{stem} tested on {result.tested}: its most confident mistakes"
        error_figures.draw_mistakes(worst, tested.pixels("test"), folder / "mistakes.png", title)
    print(f"{stem} on {result.tested}:\n{error_figures.summary(tables)}")


@dataclass(frozen=True)
class Part:
    """A part of the command. does: for --help; add_options: to its parser; work: what it does with them."""

    does: str
    add_options: Callable[[argparse.ArgumentParser], None]
    work: Callable[[argparse.Namespace], None]


PARTS = {
    "layers": Part("Output shape, parameters, multiply-adds and memory of every layer", add_layers, count_layers),
    "filters": Part("Kernels of the first layer, and the size of every filter", add_networks, show_filters),
    "activations": Part(
        "Maps of a few chips, and how often each unit answers",
        add_activations,
        lambda chosen: on_every_network(chosen, show_activations),
    ),
    "top": Part(
        "The chips that excite each unit of a layer most", add_top, lambda chosen: on_every_network(chosen, show_top)
    ),
    "tsne": Part(
        "Chips in every dense layer, by class and by data set",
        add_tsne,
        lambda chosen: on_every_network(chosen, show_tsne),
    ),
    "errors": Part("Hardest classes, confusions, confident mistakes, bias, calibration", add_errors, show_errors),
}


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    with locked(chosen.out, "prepared", shared=True), locked(chosen.out, "Exp_images"):
        PARTS[chosen.part].work(chosen)
    print(f"\nFigures and tables: {chosen.out / 'Exp_images' / 'interpret'}")


if __name__ == "__main__":
    run_command(main)
