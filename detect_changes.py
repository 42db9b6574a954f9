"""Command: SAR change detection with predicted images. Everything below change/, but for what pairs need.

    python detect_changes.py simulate                                    # Sentinel-1 series of a land that is known
    python detect_changes.py import                                      # series -> places, splits, samples
    python detect_changes.py train                                       # U-Net: four earlier images and conditions
    python detect_changes.py train --no-weather                          # one that is not told of the weather
    python detect_changes.py inject                                      # change in newest images of test samples
    python detect_changes.py evaluate                                    # predicted against earlier images, ROC curves
    python detect_changes.py conditions                                  # what if only the orbit, or the rain, is other
    python detect_changes.py difference change/series/area_1             # a whole area, strip by strip
    python detect_changes.py pair before.bmp after.bmp --truth mask.bmp  # two images, no training

With images of your own: a folder an area, with acquisitions.csv, elevation.tif, land_cover.tif and co-registered
GeoTIFFs (VV and VH in dB), as `simulate` writes them; `import FOLDER ...` tells what does not fit. A killed `train`
goes on where it stopped. Each part has its own --help.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from sarship.change import reporting, scene_report
from sarship.change.conditions import FEATURES, WEATHER
from sarship.change.cover import COVERS
from sarship.change.evaluation import scores, tally
from sarship.change.fitting import ChangeRecipe, fit
from sarship.change.injection import KINDS, Injection, inject, read_changed
from sarship.change.pairs import command as pairs
from sarship.change.predictor import Predictor, build, load_predictor, model_stem, read_model, write_model
from sarship.change.sample_set import SampleSet, read_samples
from sarship.change.samples import Cutting, check_cutting, cut
from sarship.change.series import SCALES, find_areas, read_area, refuse_overlaps
from sarship.change.simulator import command as simulator
from sarship.change.what_if import QUESTIONS
from sarship.checkpoint import Checkpoint, refuse_other_settings
from sarship.command import UserError, log, parse, parts_parser, run_command
from sarship.device import arrange_memory, choose_device
from sarship.locking import locked
from sarship.runs import digest

CHANGE = "change"  # everything of this study is below --out in this folder


def options(argv: list[str] | None = None) -> argparse.Namespace:
    example = "python detect_changes.py pair before.bmp after.bmp --truth mask.bmp"
    parser, parsers = parts_parser(__doc__, example, {name: part.does for name, part in PARTS.items()})
    for name, part in PARTS.items():
        part.add_options(parsers[name])
    return parse(parser, "detect_changes", argv)


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto",
                        help="auto: bfloat16 where it is fast")  # fmt: skip


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="make it again")


def add_without(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--without", nargs="+", choices=list(FEATURES), default=[], metavar="CONDITION",
                        help=f"{what}: {', '.join(FEATURES)}")  # fmt: skip
    parser.add_argument("--weather", action=argparse.BooleanOptionalAction, default=True,
                        help=f"--no-weather is short for --without {' '.join(WEATHER)}")  # fmt: skip


def left_out(chosen: argparse.Namespace) -> tuple[str, ...]:
    """Conditions that --without and --no-weather leave out, in the order of FEATURES."""
    names = {*chosen.without, *(() if chosen.weather else WEATHER)}
    return tuple(name for name in FEATURES if name in names)


def below(chosen: argparse.Namespace, *parts: str) -> Path:
    return chosen.out.joinpath(CHANGE, *parts)


def is_done(path: Path, wanted: dict, found: Callable[[], dict], chosen: argparse.Namespace) -> bool:
    """Whether `path` was made with the wanted settings. UserError, which names one, if it was made with others."""
    if not path.exists() or chosen.overwrite:
        return False
    refuse_other_settings(path, found(), wanted)
    print(f"{path} is up to date (--overwrite makes it again)")
    return True


# -- import


def add_import(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("folders", nargs="*", type=Path, metavar="FOLDER", help="areas, or folders of areas (without: change/series)")
    add("--patch", type=int, default=64, metavar="PX", help="side of a place, a power of two; 512 as published")
    add("--gap", type=int, default=8, metavar="PX", help="between two places, wider than speckle filters reach")
    add("--test-weeks", type=float, default=10, metavar="WEEKS", help="the last ones, for the test")
    add("--val-weeks", type=float, default=5, metavar="WEEKS", help="those before, to pick the epoch")
    add("--test-share", type=float, default=0.25, metavar="SHARE", help="of the places of an area, for the test")
    add("--val-share", type=float, default=0.1, metavar="SHARE", help="of the places of an area, to pick the epoch")
    add("--max-age-days", type=float, default=45, metavar="DAYS", help="from a sample's first image to its newest")
    add("--scale", choices=SCALES, default="auto", help="of the pixels; auto finds out")
    add("--cover", nargs="+", default=[], metavar="NAME=VALUES",
        help=f"values of land_cover.tif, as forest=23,24,25 field=12; names: {', '.join(COVERS)}")  # fmt: skip
    add("--seed", type=int, default=1, metavar="N", help="of the split")
    add_overwrite(parser)


def run_import(chosen: argparse.Namespace) -> None:
    names = ("patch", "gap", "test_weeks", "val_weeks", "test_share", "val_share", "max_age_days", "seed")
    cutting = Cutting(**{name: getattr(chosen, name) for name in names})
    check_cutting(cutting)
    cover = cover_values(chosen.cover)
    folders = find_areas(chosen.folders or [below(chosen, "series")])
    areas = [read_area(folder, chosen.scale, cover) for folder in folders]
    refuse_overlaps(areas)
    made_of = {area.name: digest({"rows": [each.row() for each in area.acquisitions]}) for area in areas}
    settings = asdict(cutting) | {"scale": chosen.scale, "cover": cover, "areas": made_of}
    target = below(chosen, "samples")
    if is_done(target, settings, lambda: dict(read_samples(target).options), chosen):
        return
    counts = cut(areas, cutting, target, settings)
    print(f"{target}: " + ", ".join(f"{count} {split} samples" for split, count in counts.items()))


def cover_values(words: list[str]) -> dict[str, list[int]] | None:
    """{"forest": [23, 24]} of ["forest=23,24"]; None of no words. UserError for what is none."""
    found = {}
    for word in words:
        name, _, values = word.partition("=")
        if name not in COVERS or not all(value.strip().isdigit() for value in values.split(",")):
            raise UserError(f"--cover {word}: write it as forest=23,24; the names are {', '.join(COVERS)}")
        found[name] = [int(value) for value in values.split(",")]
    return found or None


# -- train


def add_train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_without(parser, "conditions that the network is not told")
    add("--width", type=int, default=64, metavar="N", help="filters of the first block; all others grow with it")
    add("--stochastic-depth", type=float, default=0.1, metavar="RATE", help="of leaving out what is below a skip")
    add("--dropout", type=float, default=0.0, metavar="RATE", help="after the first three blocks upwards")
    add("--epochs", type=int, default=50, metavar="N")
    add("--epoch-samples", type=int, default=0, metavar="N", help="training samples an epoch shows; 0: all")
    add("--condition-noise", type=float, default=0.0, metavar="SPREADS",
        help="added to measured conditions in training, so that dates are not known by heart")  # fmt: skip
    add("--batch-size", type=int, default=64, metavar="N")
    add("--learning-rate", type=float, default=1e-3, metavar="RATE")
    add("--weight-decay", type=float, default=0.01, metavar="DECAY")
    add("--seed", type=int, default=1, metavar="N")
    add("--threads", type=int, metavar="N", help="of a CPU (without: all); small patches train faster on one")
    add_device(parser)
    add_overwrite(parser)


def check_training(chosen: argparse.Namespace) -> None:
    for name in ("width", "epochs", "threads"):
        if getattr(chosen, name) is not None and getattr(chosen, name) < 1:
            raise UserError(f"--{name} {getattr(chosen, name)}: must be 1 or more")
    if chosen.batch_size < 2:
        raise UserError(f"--batch-size {chosen.batch_size}: batch norm needs 2 or more")
    if chosen.epoch_samples < 0 or chosen.epoch_samples == 1:
        raise UserError(f"--epoch-samples {chosen.epoch_samples}: must be 0, for all, or 2 or more")
    if chosen.condition_noise < 0:
        raise UserError(f"--condition-noise {chosen.condition_noise}: must be 0 or more")
    for name in ("stochastic_depth", "dropout"):
        if not 0 <= getattr(chosen, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(chosen, name)}: must be from 0 to below 1")


def run_train(chosen: argparse.Namespace) -> None:
    check_training(chosen)
    device = choose_device(chosen.device, chosen.precision)
    samples = read_samples(below(chosen, "samples"))
    if len(samples.of_split("train")) < 2:
        raise UserError(f"{samples.folder}: has one train sample; batch norm needs two")
    recipe_names = ("epochs", "batch_size", "learning_rate", "weight_decay", "epoch_samples", "seed", "condition_noise")
    recipe = ChangeRecipe(**{name: getattr(chosen, name) for name in recipe_names})
    network_settings = {name: getattr(chosen, name) for name in ("width", "stochastic_depth", "dropout")}
    without = list(left_out(chosen))
    settings = asdict(recipe) | network_settings | {"patch": samples.patch, "without": without}
    settings |= {"data": samples.fingerprint(), "precision": str(device.autocast_dtype).removeprefix("torch.")}
    stem = model_stem(without, chosen.seed)
    path = below(chosen, "models", f"{stem}.pt")
    checkpoint = Checkpoint.beside(path, settings)
    if is_done(path, settings, lambda: read_model(path)["meta"]["settings"], chosen):
        checkpoint.remove()  # of a command that was killed in the moment between
        return
    arrange_memory(chosen.batch_size * samples.patch**2)
    torch.set_num_threads(chosen.threads or torch.get_num_threads())
    torch.manual_seed(chosen.seed)
    network = build(settings)
    log(f"{stem}: {sum(each.numel() for each in network.parameters()) / 1e6:.1f} million weights, {device.name}")
    progress = fit(network, samples, recipe, device, checkpoint)
    meta = {"settings": settings, "picked_epoch": progress.best_epoch, "seconds": progress.seconds}
    write_model(path, network, meta, progress.history)
    checkpoint.remove()
    reporting.learning_of(path, progress.history, progress.best_epoch)
    best = progress.history[progress.best_epoch - 1]["val_rmse_db"]
    print(f"{path}: {progress.seconds:.0f} s, validation error {best:.3f} dB in epoch {progress.best_epoch}")


# -- inject


def add_inject(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="one folder each, change/injected_<kind>")
    add("--shift-db", type=float, default=-2.5, metavar="DB", help="of the shift")
    add("--polygons", type=int, default=5, metavar="N", help="of a sample, at most")
    add("--polygon-share", type=float, default=0.2, metavar="SHARE", help="largest width, in sides of the sample")
    add("--seed", type=int, default=1, metavar="N")
    add_overwrite(parser)


def run_inject(chosen: argparse.Namespace) -> None:
    if chosen.polygons < 1 or not 0 < chosen.polygon_share <= 1:
        raise UserError("--polygons must be 1 or more and --polygon-share above 0 and at most 1")
    samples = read_samples(below(chosen, "samples"))
    for kind in chosen.kinds:
        injection = Injection(kind, chosen.shift_db, chosen.polygons, chosen.polygon_share, chosen.seed)
        target = below(chosen, f"injected_{kind}")
        settings = asdict(injection) | {"data": samples.fingerprint()}
        if is_done(target, settings, lambda: json.loads((target / "options.json").read_text()), chosen):  # noqa: B023
            continue
        counts = inject(samples, injection, target, settings)
        print(f"{target}: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count))


# -- evaluate


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="changes, as inject made them")
    add_without(parser, "also ask the full model while these conditions are withheld, one row for each and for all")
    add("--max-angle", type=float, default=1.0, metavar="DEG",
        help="leave out samples whose earlier images of the same orbit all differ more in incidence angle")  # fmt: skip
    add("--seed", type=int, default=1, metavar="N", help="of the bootstrap and of the pixels that the SVC gets")
    add_device(parser)


def predictors_of(chosen: argparse.Namespace, samples: SampleSet) -> dict[str, Predictor]:
    """Every trained model of these samples, and the full ones with conditions withheld, by the input's name."""
    device = choose_device(chosen.device, chosen.precision)
    paths = reporting.model_paths(below(chosen, "models"))
    names = left_out(chosen)
    withheld = [(), *((name,) for name in names), *([names] if len(names) > 1 else [])]
    found = {}
    for path in paths:
        for out in withheld if not read_model(path)["meta"]["settings"]["without"] else [()]:
            predictor = load_predictor(path, device, out)
            reporting.check_data(predictor, samples, path)
            found[reporting.input_name(predictor)] = predictor
    return found


def run_evaluate(chosen: argparse.Namespace) -> None:
    samples = read_samples(below(chosen, "samples"))
    predictors = predictors_of(chosen, samples)
    rows = []
    for kind in chosen.kinds:
        changed = read_changed(samples, below(chosen, f"injected_{kind}"))
        tallies, count = tally(samples, changed, predictors, chosen.max_angle, chosen.seed)
        rows += scores(tallies, changed.title, count, chosen.seed)
        reporting.draw_rocs(tallies, below(chosen, f"roc_{kind}.png"), changed.title, count)
        first = next(iter(predictors.items()))
        reporting.draw_samples(samples, changed, first, chosen.max_angle, below(chosen, f"samples_{kind}.png"))
    reporting.write_scores(rows, below(chosen, "change_scores.csv"))
    print(reporting.table(rows))
    print(f"\nTable: {below(chosen, 'change_scores.csv')}  ROC curves: {below(chosen, 'roc_<kind>.png')}")


# -- conditions


def add_conditions(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--change", nargs="+", choices=list(QUESTIONS), default=list(QUESTIONS), help="the one that is changed")
    add("--samples", type=int, default=200, metavar="N", help="test samples, at most")
    add("--model", default="UNet", metavar="STEM", help="of change/models")
    add("--series", type=Path, metavar="DIR", help="the simulated one, for the truth (without: change/series)")
    add_device(parser)


def run_conditions(chosen: argparse.Namespace) -> None:
    if chosen.samples < 1:
        raise UserError(f"--samples {chosen.samples}: must be 1 or more")
    samples = read_samples(below(chosen, "samples"))
    path = below(chosen, "models", f"{chosen.model}.pt")
    predictor = load_predictor(path, choose_device(chosen.device, chosen.precision))
    reporting.check_data(predictor, samples, path)
    series = chosen.series or below(chosen, "series")
    found = {
        name: reporting.ask_and_draw(predictor, samples, QUESTIONS[name], chosen.samples, series, below(chosen))
        for name in chosen.change
    }
    print(reporting.what_if_table(found, below(chosen, "conditions.csv")))


@dataclass(frozen=True)
class Part:
    """A sub-command. does: said in --help."""

    does: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def add_difference(parser: argparse.ArgumentParser) -> None:
    scene_report.add_options(parser)
    add_device(parser)


def run_difference(chosen: argparse.Namespace) -> None:
    scene_report.run(chosen, choose_device(chosen.device, chosen.precision), below(chosen))


PARTS: Mapping[str, Part] = {
    "simulate": Part("Sentinel-1 series of a simulated land", simulator.add_options, simulator.run),
    "import": Part("Cuts series of images into samples, split by place and date", add_import, run_import),
    "train": Part("Trains the network that predicts images", add_train, run_train),
    "inject": Part("Puts simulated change into the newest images of test samples", add_inject, run_inject),
    "evaluate": Part("Scores difference images by prediction and by earlier images", add_evaluate, run_evaluate),
    "conditions": Part("Changes one condition and looks what the prediction does", add_conditions, run_conditions),
    "difference": Part("Predicts the newest image of a whole area, and subtracts it", add_difference, run_difference),
    "pair": Part("Detects changes between two images, without training data", pairs.add_options, pairs.run),
}


def work_of(chosen: argparse.Namespace) -> str:
    """What a part works on alone: two trainings of different networks can go on at once."""
    return model_stem(left_out(chosen), chosen.seed) if chosen.part == "train" else chosen.part


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    replaces = chosen.part in ("simulate", "import", "inject")  # what other parts read
    with ExitStack() as held:
        held.enter_context(locked(chosen.out, CHANGE, shared=not replaces))
        if not replaces:
            held.enter_context(locked(chosen.out, f"{CHANGE}-{work_of(chosen)}"))
        PARTS[chosen.part].run(chosen)


if __name__ == "__main__":
    run_command(main)
