"""Command 2: prepared/ -> trained_models/, scores.csv, predictions.csv, results.txt.

    python test_models.py                                     # five networks on every prepared data set
    python test_models.py --models CNN --trained Fusar --epochs 50
    python test_models.py --backbone trained                  # no download: the frozen ones start from VGG and ResNet
    python test_models.py --seeds 1 2 3

Trains every chosen model on every chosen data set, each run from fresh weights; the validation macro-F1 picks the
epoch; every run is then tested once on the test set of *every* prepared data set. A killed command goes on where it
stopped when it is started again with the same options.
"""

import argparse
import hashlib
import platform
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from models import MODELS, ShipNetwork, build, load_imagenet_backbone, load_trained_backbone
from sarship.baselines import hog_svm, majority
from sarship.command import UserError, command_parser, log, parse, run_command
from sarship.figures import confusion_matrix, learning_curve
from sarship.files import writable_folder
from sarship.losses import LOSSES
from sarship.prepared import PreparedSet, list_datasets, read_dataset
from sarship.runs import Run, Tables, is_done, read_run, results_of, write_run
from sarship.scores import format_table
from sarship.training import Device, LabelledChips, Recipe, choose_device, fit, predict

BASELINES = ("Majority", "HOG_SVM")


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "python test_models.py --models CNN ResNet --epochs 50")
    add = parser.add_argument
    # -- what to run
    add("--models", nargs="+", choices=list(MODELS), default=list(MODELS), metavar="MODEL", help="networks to train")
    add("--trained", nargs="+", metavar="DATASET", help="data sets to train on (without: all that are prepared)")
    add("--seeds", nargs="+", type=int, default=[1], metavar="N", help="one run each")
    add("--baselines", action=argparse.BooleanOptionalAction, default=True, help="rows for Majority and HOG_SVM")
    # -- how to train
    add("--backbone", default="imagenet", metavar="imagenet|random|trained|PATH",
        help="where frozen backbones start: torchvision's ImageNet weights, noise, the same architecture trained on "
             "another of the data sets, or a model file")  # fmt: skip
    add("--heads", choices=["fitted", "published"], default="fitted", help="published: as the published code had them")
    add("--epochs", type=int, default=30, help="per run")
    add("--batch-size", type=int, default=32)
    add("--learning-rate", type=float, metavar="RATE", help="of Adam (without: each model's own, see models.py)")
    add("--weight-decay", type=float, default=0.0)
    add("--loss", choices=list(LOSSES), default="weighted_cross_entropy")
    add("--flips", action=argparse.BooleanOptionalAction, default=True, help="mirror training chips at random")
    # -- on what
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--precision", choices=["auto", "float32", "bfloat16"], default="auto", help="auto: bfloat16 where it is fast")
    add("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="train again what is there already")
    chosen = parse(parser, "test_models", argv)
    if chosen.epochs < 1 or chosen.batch_size < 2:
        raise UserError("--epochs must be 1 or more and --batch-size 2 or more")
    return chosen


def plan(chosen: argparse.Namespace, prepared: dict[str, PreparedSet], classes: list[str]) -> list[Run]:
    """All runs, those first that others start from."""
    trained_on = list(dict.fromkeys(chosen.trained or prepared))
    for name in trained_on:
        if name not in prepared:
            raise UserError(f"--trained {name}: is not prepared; there are {', '.join(prepared)}")
    data = {name: prepared_set.fingerprint() for name, prepared_set in prepared.items()}
    common = {"data": data, "classes": classes}
    runs = [
        Run(model, trained, seed, {**common, **network_settings(chosen, model, trained, seed, list(prepared))})
        for seed in dict.fromkeys(chosen.seeds)
        for model in sorted(dict.fromkeys(chosen.models), key=lambda name: MODELS[name].frozen)
        for trained in trained_on
    ]
    if chosen.baselines:
        runs += [Run(model, trained, chosen.seeds[0], common) for model in BASELINES for trained in trained_on]
    return runs


def network_settings(chosen: argparse.Namespace, model: str, trained: str, seed: int, datasets: list[str]) -> dict:
    """The settings of a network's run: every option that decides what comes out."""
    return {
        **backbone_settings(chosen, model, trained, seed, datasets),
        "heads": chosen.heads,
        "epochs": chosen.epochs,
        "batch_size": chosen.batch_size,
        "learning_rate": chosen.learning_rate or MODELS[model].learning_rate,
        "weight_decay": chosen.weight_decay,
        "loss": chosen.loss,
        "flips": chosen.flips,
        "precision": chosen.precision,
    }


def backbone_settings(chosen: argparse.Namespace, model: str, trained: str, seed: int, datasets: list[str]) -> dict:
    """Where a run's backbone starts: "random", "imagenet", the stem of another run, or a file's name and SHA-256."""
    if not MODELS[model].frozen or chosen.backbone == "random":
        return {"backbone": "random"}
    if chosen.backbone == "imagenet":
        return {"backbone": "imagenet"}
    if chosen.backbone != "trained":
        path = Path(chosen.backbone)
        if not path.is_file():
            raise UserError(
                f"--backbone {path}: there is no such model file; choose imagenet, random, trained or a file"
            )
        return {"backbone": path.name, "backbone_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    others = [name for name in datasets if name != trained]
    if not others:
        raise UserError(f"--backbone trained: {trained} is the only prepared data set; prepare another, or name a file")
    return {"backbone": Run(MODELS[model].base, others[0], seed, {}).stem}


def backbone_file(run: Run, chosen: argparse.Namespace) -> Path | None:
    """The model file that a run's backbone starts from; None if it starts from none."""
    if run.settings.get("backbone", "random") in ("random", "imagenet"):
        return None
    if chosen.backbone == "trained":
        return chosen.out / "trained_models" / f"{run.settings['backbone']}.pt"
    return Path(chosen.backbone)


def runs_to_train(runs: list[Run], chosen: argparse.Namespace) -> list[Run]:
    """The runs that are not done yet, or start from one that is not."""
    waiting: list[Run] = []
    for run in runs:
        base = backbone_file(run, chosen)
        base_waits = base in [other.path(chosen.out) for other in waiting]
        if base is not None and not base_waits and not base.is_file():
            raise UserError(f"--backbone {chosen.backbone}: {run.stem} needs {base}, which is not there; train it too")
        if chosen.overwrite or base_waits or not is_done(run, chosen.out):
            waiting.append(run)
    return waiting


def train_network(run: Run, chosen: argparse.Namespace, prepared: dict[str, PreparedSet], device: Device) -> None:
    """Train the run's network, test it on every test set, write its model file."""
    settings, source = run.settings, prepared[run.trained]
    train, val = (labelled(source, split, settings["classes"]) for split in ("train", "val"))
    torch.manual_seed(run.seed)
    network = build(run.model, len(settings["classes"]), source.image_size, settings["heads"])
    start_backbone(network, run, backbone_file(run, chosen), train.pixels)
    recipe_names = Recipe.__dataclass_fields__.keys() & settings.keys()
    recipe = Recipe(seed=run.seed, **{name: settings[name] for name in recipe_names})
    checkpoint = run.checkpoint(chosen.out)
    progress = fit(network, train, val, recipe, device, checkpoint)
    if len(val) == 0:
        log(f"{run.stem}: {run.trained} has no val split, so the last epoch is taken")
    tests = {name: predict(network, tested.pixels("test"), device) for name, tested in prepared.items()}
    meta = describe(run, settings["backbone"], progress.seconds, device, source.image_size)
    meta |= {"epochs": len(progress.history), "picked_epoch": progress.best_epoch, "heads": settings["heads"]}
    meta |= {"loss": settings["loss"]}
    write_run(run.path(chosen.out), network.cpu().state_dict(), meta, progress.history, tests)
    for leftover in checkpoint.parent.glob(f".{run.stem}-*.partial.pt"):
        leftover.unlink()


def describe(run: Run, backbone: str, seconds: float, device: Device, image_size: int) -> dict:
    """What a model file says of itself; enough to predict with."""
    return {
        "model": run.model,
        "trained": run.trained,
        "seed": run.seed,
        "classes": run.settings["classes"],
        "image_size": image_size,
        "protocol": "strict",
        "sampler": "none",
        "backbone": backbone,
        "seconds": seconds,
        "device": f"{device.name} {str(device.autocast_dtype).removeprefix('torch.')}",
        "settings": run.settings,
    }


def labelled(prepared_set: PreparedSet, split: str, classes: list[str]) -> LabelledChips:
    return LabelledChips(prepared_set.pixels(split), prepared_set.labels(split, classes), len(classes))


def start_backbone(network: ShipNetwork, run: Run, file: Path | None, train_pixels: np.ndarray) -> None:
    """Give the backbone its first weights and the input scaling that goes with them."""
    if file is not None:
        load_trained_backbone(network, file)
    elif run.settings["backbone"] == "imagenet":
        load_imagenet_backbone(network, run.model)
    else:
        scaled = train_pixels.astype(np.float32) / 255
        network.scale_input(float(scaled.mean()), float(scaled.std()))


def run_baseline(run: Run, chosen: argparse.Namespace, prepared: dict[str, PreparedSet], device: Device) -> None:
    """Majority class of the training set, or a linear SVM on HOG features, on every test set."""
    started = time.monotonic()
    classes, source = run.settings["classes"], prepared[run.trained]
    train, val = (labelled(source, split, classes) for split in ("train", "val"))
    test_pixels = {name: tested.pixels("test") for name, tested in prepared.items()}
    if run.model == "Majority":
        tests = {name: majority(train.labels, len(pixels), len(classes)) for name, pixels in test_pixels.items()}
    else:
        tests = hog_svm(train.pixels, train.labels, val.pixels, val.labels, test_pixels, len(classes), run.seed)
    meta = describe(run, "", time.monotonic() - started, device, source.image_size)
    meta |= {"epochs": 0, "picked_epoch": 0, "loss": "", "device": "cpu"}
    write_run(run.path(chosen.out), {}, meta, [], tests)


def draw(run: Run, out: Path, prepared: dict[str, PreparedSet]) -> None:
    """Learning curve and confusion matrices of a run, beside its model file; a warning if it collapsed."""
    content = read_run(run.path(out))
    title = f"{run.model} trained on {run.trained}"
    if content["history"]:
        path = run.path(out).with_suffix(".learning.png")
        learning_curve(content["history"], content["meta"]["picked_epoch"], path, title)
    for result in results_of(content, prepared):
        path = run.path(out).with_suffix(f".confusion_{result.tested}.png")
        confusion_matrix(result.labels, result.predictions, result.classes, path, f"{title}, tested on {result.tested}")
        if run.model != "Majority" and result.tested == run.trained and len(np.unique(result.predictions)) == 1:
            log(f"warning: {run.stem} collapsed, it answers one class only; try a lower --learning-rate")


def header(chosen: argparse.Namespace, device: Device) -> list[str]:
    """First lines of results.txt: what ran."""
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}, NumPy {np.__version__}"
    lines = [versions, f"device {device.name}, {device.autocast_dtype}, {torch.get_num_threads()} threads"]
    return lines + [f"--{name.replace('_', '-')} {value}" for name, value in sorted(vars(chosen).items())]


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    device = choose_device(chosen.device, chosen.precision)
    prepared = {name: read_dataset(chosen.out, name) for name in list_datasets(chosen.out)}
    writable_folder(chosen.out / "trained_models")
    classes = sorted(set().union(*(prepared_set.classes for prepared_set in prepared.values())))
    runs = plan(chosen, prepared, classes)
    waiting = runs_to_train(runs, chosen)
    tables = Tables(chosen.out, runs, prepared, header(chosen, device))
    tables.update(run for run in runs if run not in waiting)
    for run in tqdm(waiting, unit=" runs", disable=None):
        log(f"{run.model} on {run.trained}, seed {run.seed}")
        train = run_baseline if run.model in BASELINES else train_network
        train(run, chosen, prepared, device)
        draw(run, chosen.out, prepared)
        tables.update([run])
    print(format_table(tables.rows))
    print(f"\nScores: {chosen.out / 'scores.csv'}  Models, curves, confusion matrices: {chosen.out / 'trained_models'}")


if __name__ == "__main__":
    run_command(main)
