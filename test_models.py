"""Command 2: prepared/ -> trained_models/, scores.csv, predictions.csv, history.csv, results.txt.

    python test_models.py                                     # five networks on every prepared data set
    python test_models.py --models CNN --trained Fusar --epochs 50
    python test_models.py --backbone trained                  # no download: the frozen ones start from VGG and ResNet
    python test_models.py --trained Fusar Fusar+Mixed         # a transfer chain: base, then its head on the target
    python test_models.py --loss cross_entropy focal --sampler none balanced --seeds 1 2 3
    python test_models.py --protocol published                # with every flaw of the published code
    python test_models.py --random-split                      # strict, with one of them
    python test_models.py --study studies/transfer.toml --list

Trains every chosen model on every chosen data set; the validation macro-F1 picks the epoch; every run is then tested
once on the test set of *every* prepared data set. A killed command goes on where it stopped when it is started again
with the same options. The tables hold every run that has a model file below --out.
"""

import argparse
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from models import MODELS, UNFREEZE, ShipNetwork, build, layers_to_freeze, load_imagenet_backbone, load_trained_backbone
from sarship.augment import AUGMENTATIONS, draw_flips
from sarship.baselines import hog_svm, majority
from sarship.command import UserError, command_parser, log, parse, run_command
from sarship.device import Device, arrange_memory, choose_device
from sarship.features import FeatureStore
from sarship.figures import confusion_matrix, learning_curve
from sarship.files import writable_folder
from sarship.ledger import Ledger, results_of
from sarship.losses import COSINE_LOSSES, LOSSES
from sarship.names import BASELINES
from sarship.planning import needs, plan
from sarship.prepared import CACHE, PreparedSet, list_datasets, read_dataset, read_options
from sarship.profiling import Profile
from sarship.protocols import PROTOCOLS, SWITCHES
from sarship.resplit import views
from sarship.runs import Run, drop_state, has_state, is_done, model_path, read_run, state_of, write_run
from sarship.sampling import SAMPLERS
from sarship.scores import format_table
from sarship.training import LabelledChips, Progress, Recipe, fit, predict, predict_sets


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "python test_models.py --models CNN ResNet --epochs 50")
    add = parser.add_argument
    # -- what to run
    add("--models", nargs="+", choices=list(MODELS), default=list(MODELS), metavar="MODEL", help="networks to train")
    add(
        "--trained", nargs="+", metavar="DATASET", help="data sets and chains, say Fusar+Mixed (without: all data sets)"
    )
    add("--seeds", nargs="+", type=int, default=[1], metavar="N", help="one run each")
    add("--baselines", action=argparse.BooleanOptionalAction, default=True, help="rows for Majority and HOG_SVM")
    add(
        "--list",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="print the runs and what is done already, and stop",
    )
    # -- protocol: default values of the options below it, see sarship/protocols.py
    add("--protocol", nargs="+", choices=list(PROTOCOLS), default=["strict"], help="published: with all its flaws")
    add("--one-at-a-time", action=argparse.BooleanOptionalAction, default=False,
        help="the protocol, and again for each thing in which the protocols differ, with that one turned")  # fmt: skip
    for name, what in SWITCHES.items():
        option, explained = f"--{name.replace('_', '-')}", what.replace("%", "%%")
        add(option, action=argparse.BooleanOptionalAction, default=None, help=explained)
    add("--heads", choices=["fitted", "published"], help="published: as the published code had them")
    add("--loss", nargs="+", choices=list(LOSSES), metavar="LOSS", help=f"one run each: {', '.join(LOSSES)}")
    add("--augment", nargs="+", choices=list(AUGMENTATIONS), help="one run each; see sarship/augment.py")
    add("--learning-rate", type=float, metavar="RATE", help="of Adam (without: each model's own, see models.py)")
    # -- how to train
    add("--sampler", nargs="+", choices=list(SAMPLERS), default=["none"], help="one run each: how classes are drawn")
    add("--unfreeze", nargs="+", choices=list(UNFREEZE), default=["none"],
        help="one run each: stages of the backbone that a transfer chain trains besides its head")  # fmt: skip
    add("--backbone", default="imagenet", metavar="imagenet|random|trained|PATH",
        help="where frozen backbones start: torchvision's ImageNet weights, noise, the same architecture trained on "
             "another of the data sets, or a model file")  # fmt: skip
    add("--epochs", type=int, default=30, help="per run")
    add("--batch-size", type=int, default=32)
    add("--weight-decay", type=float, default=0.0)
    add("--split-seed", type=int, default=1, help="of what --random-split and --overlapping-mix deal anew")
    # -- on what
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--precision", choices=["auto", "float32", "bfloat16"], default="auto", help="auto: bfloat16 where it is fast")
    add("--compile", action=argparse.BooleanOptionalAction, default=False,
        help="torch.compile networks: a minute or more each first, then faster steps; for long runs")  # fmt: skip
    add("--profile", action=argparse.BooleanOptionalAction, default=False,
        help="say where each run's seconds went, and what share of the hardware's peak was reached")  # fmt: skip
    add("--figures", action=argparse.BooleanOptionalAction, default=True, help="draw each run's curves and matrices")
    add("--weights", action=argparse.BooleanOptionalAction, default=True,
        help="keep them in the model files; a study of many runs needs only what was answered")  # fmt: skip
    add("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="train again what is there already")
    chosen = parse(parser, "test_models", argv)
    if chosen.epochs < 1 or chosen.batch_size < 2:
        raise UserError("--epochs must be 1 or more and --batch-size 2 or more")
    if min(chosen.split_seed, *chosen.seeds) < 0:
        raise UserError("--seeds and --split-seed must be 0 or more")
    return chosen


def check_augmentation(chosen: argparse.Namespace) -> None:
    """UserError if an augmentation takes pixels for amplitude that are decibels."""
    amplitude_only = [name for name in chosen.augment or () if not AUGMENTATIONS[name].is_flips_only]
    made_with = chosen.out / "prepared" / "options.json"
    if amplitude_only and made_with.exists() and read_options(chosen.out)["options"].get("pixels") == "calibrated":
        raise UserError(
            f"--augment {amplitude_only[0]}: its speckle and gain are made for amplitude, and the chips were prepared "
            "with --pixels calibrated (dB); choose --augment strict, or prepare with --pixels uint8"
        )


def runs_to_train(runs: list[Run], chosen: argparse.Namespace) -> list[Run]:
    """The runs that are not done yet, start from one that is not, or whose weights are needed again; in their order."""
    waiting: dict[str, Run] = {}
    for run in runs:
        starts_from_waiting = False
        for stem in needs(run):
            if stem in waiting:
                starts_from_waiting = True
            elif not model_path(chosen.out, stem).is_file():
                path = model_path(chosen.out, stem)
                raise UserError(
                    f"--backbone {chosen.backbone}: {run.stem} needs {path}, which is not there; train it too"
                )
        if chosen.overwrite or starts_from_waiting or not is_done(run, chosen.out):
            waiting[run.stem] = run
    by_stem = {run.stem: run for run in runs}
    for run in reversed(runs):  # what a run starts from is before it
        for stem in needs(run) if run.stem in waiting else ():
            path = model_path(chosen.out, stem)
            if stem not in waiting and not has_state(path):
                if stem not in by_stem:
                    raise UserError(f"{path}: was made with --no-weights, and {run.stem} starts from it; train it too")
                waiting[stem] = by_stem[stem]  # the same settings give the same weights again
    return [run for run in runs if run.stem in waiting]


def train_network(
    run: Run, chosen: argparse.Namespace, view: Mapping[str, PreparedSet], device: Device, twin: Path | None
) -> None:
    """Train the run's network, test it on every test set, write its model file.

    twin: model file of a run that differs in testing only, if there is one: it has the weights already.
    """
    settings, source = run.settings, view[run.target]
    store = FeatureStore(chosen.out / CACHE)
    torch.manual_seed(run.seed)
    cosine = settings["loss"] in COSINE_LOSSES
    network = build(run.model, len(settings["classes"]), source.image_size, settings["heads"], cosine)
    progress = take_over(network, twin) if twin else fit_network(network, run, chosen, source, device, store)
    network.to(device.name, memory_format=torch.channels_last)  # in another order of memory, rounding differs
    tests = test_network(network, run, view, device, store)
    meta = describe(run, settings["backbone"], progress.seconds, device, source.image_size)
    meta |= {"epochs": len(progress.history), "picked_epoch": progress.best_epoch, "training_key": run.training_key}
    meta |= {name: settings[name] for name in ("heads", "loss", "sampler", "augment", "learning_rate", "pooled_cam")}
    meta |= {"unfreeze": settings["unfreeze"] if run.is_chain else ""}
    with device.profile.part("writing"):
        write_run(run.path(chosen.out), network.cpu().state_dict(), meta, progress.history, tests)
    for leftover in run.checkpoint(chosen.out).parent.glob(f".{run.stem}-*.partial.pt"):
        leftover.unlink()


def test_network(
    network: ShipNetwork, run: Run, view: Mapping[str, PreparedSet], device: Device, store: FeatureStore
) -> dict[str, np.ndarray]:
    """Class probabilities on every test set."""
    with device.profile.part("decode"):
        sets = {name: tested.pixels("test") for name, tested in view.items()}
    if not run.settings["test_time_flip"]:
        return predict_sets(network, sets, device, store)
    tests = {}
    for number, (name, pixels) in enumerate(sets.items()):
        flips = draw_flips(len(pixels), flip_generator(run.seed, number))
        tests[name] = predict(network, pixels, device, flips, store)
    return tests


def fit_network(
    network: ShipNetwork,
    run: Run,
    chosen: argparse.Namespace,
    source: PreparedSet,
    device: Device,
    store: FeatureStore,
) -> Progress:
    """Train the network from where its settings let it start; it ends with the weights of the kept epoch."""
    settings = run.settings
    with device.profile.part("decode"):
        train, val = (labelled(source, split, settings["classes"]) for split in ("train", "val"))
    start_network(network, run, chosen, train.pixels)
    if run.is_chain or MODELS[run.model].frozen:
        frozen = layers_to_freeze(run.model, settings["unfreeze"] if run.is_chain else "none")
        network.freeze(frozen, drifting=settings["drifting_batchnorm"])
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "loss", "sampler", "augment")
    detached = run.is_chain and settings["detached_finetune"]
    recipe = Recipe(**{name: settings[name] for name in names}, detached=detached, seed=run.seed)
    if chosen.compile:
        network.compile()
    progress = fit(network, train, val, recipe, device, run.checkpoint(chosen.out), store)
    if len(val) == 0 and not settings["last_epoch"]:
        log(f"{run.stem}: {run.target} has no val split, so the last epoch is taken")
    return progress


def take_over(network: ShipNetwork, twin: Path) -> Progress:
    """Weights and history of another run's model file."""
    content = read_run(twin)
    network.load_state_dict(state_of(content, twin))
    meta = content["meta"]
    return Progress(meta["epochs"], content["history"], meta["picked_epoch"], seconds=meta["seconds"])


def flip_generator(seed: int, number: int) -> torch.Generator:
    """Random numbers for the flips of test set `number`, only asked for by the published flaw."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


def describe(run: Run, backbone: str, seconds: float, device: Device, image_size: int) -> dict:
    """What a model file says of itself; enough to predict with."""
    return {
        "model": run.model,
        "trained": run.trained,
        "seed": run.seed,
        "variant": run.variant,
        "protocol": run.settings["protocol"],
        "flaws": list(run.flaws),
        "changed": list(run.changed),
        "classes": run.settings["classes"],
        "image_size": image_size,
        "backbone": backbone,
        "seconds": seconds,
        "device": f"{device.name} {str(device.autocast_dtype).removeprefix('torch.')}",
        "settings": run.settings,
    }


def labelled(prepared_set: PreparedSet, split: str, classes: list[str]) -> LabelledChips:
    return LabelledChips(prepared_set.pixels(split), prepared_set.labels(split, classes), len(classes))


def start_network(network: ShipNetwork, run: Run, chosen: argparse.Namespace, train_pixels: np.ndarray) -> None:
    """Give the network its first weights and the input scaling that goes with them."""
    backbone = run.settings["backbone"]
    if run.settings["start"]:
        base = model_path(chosen.out, run.settings["start"])
        network.load_state_dict(state_of(read_run(base), base))
    elif backbone == "imagenet":
        load_imagenet_backbone(network, run.model)
    elif backbone == "random":
        scaled = train_pixels.astype(np.float32) / 255
        network.scale_input(float(scaled.mean()), float(scaled.std()))
    else:
        is_file = "backbone_sha256" in run.settings
        load_trained_backbone(network, Path(chosen.backbone) if is_file else model_path(chosen.out, backbone))


def run_baseline(run: Run, chosen: argparse.Namespace, view: Mapping[str, PreparedSet], device: Device) -> None:
    """Majority class of the training set, or a linear SVM on HOG features, on every test set."""
    started = time.monotonic()
    classes, source = run.settings["classes"], view[run.target]
    train, val = (labelled(source, split, classes) for split in ("train", "val"))
    test_pixels = {name: tested.pixels("test") for name, tested in view.items()}
    if run.model == "Majority":
        tests = {name: majority(train.labels, len(pixels), len(classes)) for name, pixels in test_pixels.items()}
    else:
        tests = hog_svm(train.pixels, train.labels, val.pixels, val.labels, test_pixels, len(classes), run.seed)
    meta = describe(run, "", time.monotonic() - started, device, source.image_size)
    meta |= dict.fromkeys(("loss", "sampler", "augment", "heads", "unfreeze", "learning_rate"), "")
    meta |= {"epochs": 0, "picked_epoch": 0, "training_key": "", "device": "cpu"}
    write_run(run.path(chosen.out), {}, meta, [], tests)


def title_of(run: Run) -> str:
    return f"{run.model} trained on {run.trained}" + (f", {run.variant}" if run.variant else "")


def draw(run: Run, out: Path, view: Mapping[str, PreparedSet]) -> None:
    """Learning curve and confusion matrices of a run, beside its model file."""
    content = read_run(run.path(out))
    title = title_of(run)
    if content["history"]:
        path = run.path(out).with_suffix(".learning.png")
        learning_curve(content["history"], content["meta"]["picked_epoch"], path, title)
    for result in results_of(content, view):
        path = run.path(out).with_suffix(f".confusion_{result.tested}.png")
        confusion_matrix(result.labels, result.predictions, result.classes, path, f"{title}, tested on {result.tested}")


def drop_weights(trained: list[Run], waiting: list[Run], out: Path) -> list[Run]:
    """Take the weights out of the model files that no waiting run needs; returns the runs that keep them."""
    stems = {stem for run in waiting for stem in needs(run)}
    keys = {run.training_key for run in waiting}
    needed = [run for run in trained if run.stem in stems or run.training_key in keys]
    for run in trained:
        if run not in needed:
            drop_state(run.path(out))
    return needed


def warn_if_collapsed(run: Run, rows: list[dict]) -> None:
    own = [row for row in rows if row["Tested"] == run.target and row["Collapsed"]]
    if own and run.model != "Majority":
        log(f"warning: {run.stem} collapsed, it answers one class only; try a lower --learning-rate")


def header(chosen: argparse.Namespace, device: Device) -> list[str]:
    """First lines of results.txt: what ran."""
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__}, NumPy {np.__version__}"
    lines = [versions, f"device {device.name}, {device.autocast_dtype}, {torch.get_num_threads()} threads"]
    return lines + [f"--{name.replace('_', '-')} {value}" for name, value in sorted(vars(chosen).items())]


def listing(runs: list[Run], waiting: list[Run], out: Path) -> str:
    """Every run of the command with its state, for --list."""
    names = {run.stem for run in waiting}
    states = ["done" if run.stem not in names else "begun" if run.checkpoint(out).exists() else "to do" for run in runs]
    lines = [f"{state:<6} {run.stem}" for state, run in zip(states, runs, strict=True)]
    return "\n".join([*lines, f"{len(runs) - len(waiting)} of {len(runs)} runs are done"])


def carry_out(runs: list[Run], waiting: list[Run], chosen: argparse.Namespace, device: Device, ledger: Ledger) -> None:
    """Train and test every run of `waiting`, keeping the tables up to date."""
    writable_folder(chosen.out / "trained_models")
    kept = [run for run in runs if run not in waiting]
    try:
        for index, run in enumerate(tqdm(waiting, unit=" runs", disable=None)):
            log(f"{title_of(run)}, seed {run.seed}")
            view = ledger.views(run.settings)
            with device.profile.run(run.stem):
                if run.model in BASELINES:
                    run_baseline(run, chosen, view, device)
                else:
                    train_network(run, chosen, view, device, ledger.path_by_key.get(run.training_key))
                with device.profile.part("writing"):
                    ledger.add(run.path(chosen.out))
                    warn_if_collapsed(run, ledger.rows([run]))
                    if chosen.figures:
                        draw(run, chosen.out, view)
                    if not chosen.weights:
                        kept = drop_weights([*kept, run], waiting[index + 1 :], chosen.out)
                    ledger.write_if_cheap()
    finally:
        ledger.write()


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    device = choose_device(chosen.device, chosen.precision, Profile(chosen.profile))
    prepared = {name: read_dataset(chosen.out, name) for name in list_datasets(chosen.out)}
    data = {name: prepared_set.fingerprint() for name, prepared_set in prepared.items()}
    classes = sorted(set().union(*(prepared_set.classes for prepared_set in prepared.values())))
    check_augmentation(chosen)
    arrange_memory(chosen.batch_size * next(iter(prepared.values())).image_size ** 2)
    runs = plan(chosen, MODELS, data, classes)
    ledger = Ledger(chosen.out, data, views(prepared), [*MODELS, *BASELINES], header(chosen, device))
    ledger.read_all(replaced=runs if chosen.overwrite else [])
    waiting = runs_to_train(runs, chosen)
    if chosen.list:
        print(listing(runs, waiting, chosen.out))
        return
    carry_out(runs, waiting, chosen, device, ledger)
    print(format_table(ledger.rows(runs)))
    if chosen.profile and waiting:
        print(f"\n{device.profile.table(device.name, device.autocast_dtype)}")
    print(f"\nScores: {chosen.out / 'scores.csv'}  Models, curves, confusion matrices: {chosen.out / 'trained_models'}")


if __name__ == "__main__":
    run_command(main)
