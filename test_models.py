"""Command 2: prepared/ -> trained_models/, scores.csv, predictions.csv, history.csv, results.txt.

    python test_models.py                                     # five networks on every prepared data set
    python test_models.py --models CNN --trained Fusar --epochs 50
    python test_models.py --backbone trained                  # no download: the frozen ones start from VGG and ResNet
    python test_models.py --trained Fusar Fusar+Mixed         # a transfer chain: base, then its head on the target
    python test_models.py --loss cross_entropy focal --sampler none balanced --seeds 1 2 3
    python test_models.py --protocol published                # with every flaw of the published code
    python test_models.py --random-split                      # strict, with one of them
    python test_models.py --models NASNetMobile --freeze-to input --optimizer sgd --augment land_use --redeal
    python test_models.py --study studies/transfer.toml --list

Trains every chosen model on every chosen data set; the validation macro-F1 picks the epoch; every run is then tested
once on the test set of *every* prepared data set. A killed command goes on where it stopped when it is started again
with the same options. The tables hold every run that has a model file below --out.
"""

import argparse
import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from models import (
    MODELS,
    SHIP_MODELS,
    UNFREEZE,
    ShipNetwork,
    build,
    freeze_to,
    frozen_layers,
    load_imagenet_backbone,
    load_trained_backbone,
)
from sarship.augment import AUGMENTATIONS, draw_flips
from sarship.baselines import hog_svm, majority
from sarship.checks import check_augmentation, check_options
from sarship.command import UserError, command_parser, log, parse, run_command
from sarship.device import Device, arrange_memory, choose_device
from sarship.failures import Failures
from sarship.familiarity import fit_familiarity
from sarship.features import FeatureStore
from sarship.files import writable_folder
from sarship.ledger import Ledger
from sarship.locking import locked
from sarship.losses import COSINE_LOSSES, LOSSES
from sarship.names import BASELINES
from sarship.planning import needs, plan
from sarship.prepared import CACHE, PreparedSet, list_datasets, read_dataset
from sarship.profiling import Profile
from sarship.protocols import PROTOCOLS, SWITCHES, UNNAMED
from sarship.resplit import refuse_to_tear_apart, views
from sarship.run_report import draw, header, title_of, warn_if_collapsed
from sarship.runs import Run, model_path, read_run, state_of, write_run
from sarship.sampling import SAMPLERS
from sarship.scores import format_table
from sarship.thinning import thinned
from sarship.training import OPTIMIZERS, LabelledChips, Progress, Recipe, fit, predict, predict_sets
from sarship.waiting import drop_weights, listing, runs_to_train


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "python test_models.py --models CNN ResNet --epochs 50")
    add = parser.add_argument
    # -- what to run
    add("--models", nargs="+", choices=list(MODELS), default=list(SHIP_MODELS), metavar="MODEL",
        help=f"networks to train: {', '.join(MODELS)}")  # fmt: skip
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
    add("--learning-rate", type=float, metavar="RATE", help="(without: each model's own for Adam, see models.py)")
    # -- how to train
    add("--sampler", nargs="+", choices=list(SAMPLERS), default=["none"], help="one run each: how classes are drawn")
    add("--unfreeze", nargs="+", choices=list(UNFREEZE), default=["none"],
        help="one run each: stages of the backbone that a transfer chain trains besides its head")  # fmt: skip
    add("--backbone", default="imagenet", metavar="imagenet|random|trained|PATH",
        help="where frozen backbones start, and with --freeze-to all: ImageNet weights, noise, the same architecture "
             "trained on another of the data sets, or a model file")  # fmt: skip
    add("--freeze-to", metavar="LAYER",
        help="freeze every network from its input to this layer of its backbone: input (nothing), a name as in "
             "models.py, or all; of a chain, the base")  # fmt: skip
    add("--dropout", type=float, metavar="SHARE", help="of every dropout in the head (without: each head's own)")
    add("--batch-norm", action=argparse.BooleanOptionalAction, default=True, help="leave it out with --no-batch-norm")
    add("--epochs", type=int, default=30, help="per run")
    add("--optimizer", choices=OPTIMIZERS, default=UNNAMED["optimizer"])
    add("--momentum", type=float, default=UNNAMED["momentum"], help="of sgd")
    add("--final-learning-rate", type=float, default=UNNAMED["final_learning_rate"], metavar="RATE",
        help="where half a cosine ends")  # fmt: skip
    add("--batch-size", nargs="+", type=int, default=[UNNAMED["batch_size"]], metavar="N",
        help="one run each; of several, all but the default are in the run's name")  # fmt: skip
    add("--weight-decay", nargs="+", type=float, default=[UNNAMED["weight_decay"]], metavar="DECAY",
        help="one run each, named as of --batch-size")  # fmt: skip
    # -- on which chips
    add("--split-seed", type=int, default=1, help="of what --random-split and --overlapping-mix deal anew")
    add("--redeal", action=argparse.BooleanOptionalAction, default=False,
        help="repeated splits: each seed has one of its own, with as many chips of each class")  # fmt: skip
    add("--train-chips", type=int, metavar="N", help="train on N chips of each class at most")
    add("--imbalance", type=float, metavar="RATIO",
        help="train on all chips of the first class, ever fewer of the others, and 1/RATIO of the last")  # fmt: skip
    # -- on what
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--precision", choices=["auto", "float32", "bfloat16"], default="auto", help="auto: bfloat16 where it is fast")
    add("--compile", action=argparse.BooleanOptionalAction, default=False,
        help="torch.compile networks: a minute or more each first, then faster steps; for long runs")  # fmt: skip
    add("--profile", action=argparse.BooleanOptionalAction, default=False,
        help="say where each run's seconds went, and what share of the hardware's peak was reached")  # fmt: skip
    add("--timing", action=argparse.BooleanOptionalAction, default=True,
        help="say how long runs took; without, the same options give the same bytes")  # fmt: skip
    add("--figures", action=argparse.BooleanOptionalAction, default=True, help="draw each run's curves and matrices")
    add("--weights", action=argparse.BooleanOptionalAction, default=True,
        help="keep them in the model files; a study of many runs needs only what was answered")  # fmt: skip
    add("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="train again what is there already")
    add("--fresh", action=argparse.BooleanOptionalAction, default=False,
        help="as --overwrite, and nothing goes on from where a killed command stopped")  # fmt: skip
    chosen = parse(parser, "test_models", argv)
    chosen.overwrite |= chosen.fresh
    check_options(chosen)
    return chosen


def check_networks(chosen: argparse.Namespace, image_size: int) -> None:
    """UserError for networks that cannot be as --heads, --freeze-to, --dropout and --no-batch-norm ask."""
    heads = [chosen.heads] if chosen.heads else [PROTOCOLS[name]["heads"] for name in chosen.protocol]
    as_ever = chosen.freeze_to is None and chosen.dropout is None and chosen.batch_norm
    if as_ever and "published" not in heads:
        return
    for name, head in product(chosen.models, heads):
        with torch.device("meta"):  # only to look: no weights are drawn
            network = build(name, 2, image_size, head, dropout=chosen.dropout)
        if chosen.freeze_to is not None:
            freeze_to(network, chosen.freeze_to)
        from_imagenet = chosen.backbone == "imagenet" and (MODELS[name].frozen or chosen.freeze_to is not None)
        normalised = any(isinstance(layer, nn.BatchNorm2d) for layer in network.features.modules())
        if normalised and from_imagenet and not chosen.batch_norm:
            raise UserError(f"--no-batch-norm: ImageNet weights of {name} need it; choose another --backbone")


def train_network(
    run: Run, chosen: argparse.Namespace, view: Mapping[str, PreparedSet], device: Device, twin: Path | None
) -> None:
    """Train the run's network, test it on every test set, write its model file.

    twin: model file of a run that differs in testing only, if there is one: it has the weights already.
    """
    settings, source = run.settings, view[run.target]
    store = FeatureStore(chosen.out / CACHE)
    torch.manual_seed(run.seed)
    network = build(
        run.model,
        len(settings["classes"]),
        source.image_size,
        settings["heads"],
        cosine=settings["loss"] in COSINE_LOSSES,
        batch_norm=settings.get("batch_norm", True),
        dropout=settings.get("dropout"),
    )
    progress = take_over(network, twin) if twin else fit_network(network, run, chosen, source, device, store)
    network.to(device.name, memory_format=torch.channels_last)  # in another order of memory, rounding differs
    tests = test_network(network, run, view, device, store)
    seconds = progress.seconds if chosen.timing else None
    meta = describe(run, settings["backbone"], seconds, device, source.image_size)
    meta |= {"epochs": len(progress.history), "picked_epoch": progress.best_epoch, "training_key": run.training_key}
    meta |= {name: settings[name] for name in ("heads", "loss", "sampler", "augment", "learning_rate", "pooled_cam")}
    meta |= {"unfreeze": settings["unfreeze"] if run.is_chain else ""}
    meta |= {"batch_norm": False} if "batch_norm" in settings else {}
    meta |= {"stopped": progress.stopped} if progress.stopped else {}
    meta |= {"bands": "rgb"} if source.bands == "rgb" else {}
    with device.profile.part("evaluation"):
        train, val = (labelled(source, split, run).pixels for split in ("train", "val"))
        familiarity = fit_familiarity(network, train, val, device, run.seed, store)
    with device.profile.part("writing"):
        state = network.cpu().state_dict()
        write_run(run.path(chosen.out), state, meta, progress.history, tests, familiarity.to_state())
    run.checkpoint(chosen.out).remove()


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
        train, val = (labelled(source, split, run) for split in ("train", "val"))
    start_network(network, run, chosen, train)
    network.freeze(frozen_layers(network, run.model, run.is_chain, settings), settings["drifting_batchnorm"])
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "loss", "sampler", "augment")
    names += tuple(name for name in ("optimizer", "momentum", "final_learning_rate") if name in settings)
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
    stopped = meta.get("stopped", "")
    return Progress(
        meta["epochs"], content["history"], meta["picked_epoch"], seconds=meta["seconds"] or 0.0, stopped=stopped
    )


def flip_generator(seed: int, number: int) -> torch.Generator:
    """Random numbers for the flips of test set `number`, only asked for by the published flaw."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, number]).generate_state(1)[0]))


def describe(run: Run, backbone: str, seconds: float | None, device: Device, image_size: int) -> dict:
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


def labelled(prepared_set: PreparedSet, split: str, run: Run) -> LabelledChips:
    """The chips of a split; of train, those that the run trains on."""
    classes = run.settings["classes"]
    pixels, labels = prepared_set.pixels(split), prepared_set.labels(split, classes)
    limits = {name: run.settings[name] for name in ("train_chips", "imbalance") if name in run.settings}
    if limits and split == "train":
        kept = thinned(labels, len(classes), run.seed, **limits)
        pixels, labels = pixels.chosen(kept), labels[kept]
    return LabelledChips(pixels, labels, len(classes))


def start_network(network: ShipNetwork, run: Run, chosen: argparse.Namespace, train: LabelledChips) -> None:
    """Give the network its first weights and the input scaling that goes with them."""
    backbone = run.settings["backbone"]
    if run.settings["start"]:
        base = model_path(chosen.out, run.settings["start"])
        network.load_state_dict(state_of(read_run(base), base))
    elif backbone == "imagenet":
        load_imagenet_backbone(network, run.model)
    elif backbone == "random":
        network.scale_input(*train.input_scaling())
    else:
        is_file = "backbone_sha256" in run.settings
        load_trained_backbone(network, Path(chosen.backbone) if is_file else model_path(chosen.out, backbone))


def run_baseline(run: Run, chosen: argparse.Namespace, view: Mapping[str, PreparedSet], device: Device) -> None:
    """Majority class of the training set, or a linear SVM on HOG features, on every test set."""
    started = time.monotonic()
    classes, source = run.settings["classes"], view[run.target]
    train, val = (labelled(source, split, run) for split in ("train", "val"))
    test_pixels = {name: tested.pixels("test") for name, tested in view.items()}
    if run.model == "Majority":
        tests = {name: majority(train.labels, len(pixels), len(classes)) for name, pixels in test_pixels.items()}
    else:
        tests = hog_svm(train.pixels, train.labels, val.pixels, val.labels, test_pixels, len(classes), run.seed)
    seconds = time.monotonic() - started if chosen.timing else None
    meta = describe(run, "", seconds, device, source.image_size)
    meta |= dict.fromkeys(("loss", "sampler", "augment", "heads", "unfreeze", "learning_rate"), "")
    meta |= {"epochs": 0, "picked_epoch": 0, "training_key": "", "device": "cpu"}
    write_run(run.path(chosen.out), {}, meta, [], tests)


def carry_out(
    runs: list[Run], waiting: list[Run], chosen: argparse.Namespace, device: Device, ledger: Ledger
) -> Failures:
    """Train and test every run of `waiting`, keeping the tables up to date; a run that fails stops no other, but those
    that start from it."""
    writable_folder(chosen.out / "trained_models")
    kept = [run for run in runs if run not in waiting]
    for run in kept:
        run.checkpoint(chosen.out).remove()  # of a command that was killed in the moment between
    failures = Failures()
    try:
        for index, run in enumerate(tqdm(waiting, unit=" runs", disable=None)):
            if failures.stands_on_one(run.stem, needs(run)):
                continue
            log(f"{title_of(run)}, seed {run.seed}")
            with failures.noted(run.stem, run.path(chosen.out).with_suffix(".failed.txt")):
                carry_out_one(run, chosen, device, ledger)
                if not chosen.weights:
                    kept = drop_weights([*kept, run], waiting[index + 1 :], chosen.out)
    finally:
        ledger.write()
    return failures


def carry_out_one(run: Run, chosen: argparse.Namespace, device: Device, ledger: Ledger) -> None:
    """Train and test one run, and add it to the tables."""
    if chosen.fresh:
        run.checkpoint(chosen.out).remove()
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
            ledger.write_if_cheap()


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    with ExitStack() as held:
        held.enter_context(locked(chosen.out, "prepared", shared=True))
        if not chosen.list:
            held.enter_context(locked(chosen.out, "trained_models"))
        train_all(chosen)


def train_all(chosen: argparse.Namespace) -> None:
    """All that the command does, alone on the folder."""
    device = choose_device(chosen.device, chosen.precision, Profile(chosen.profile))
    prepared = {name: read_dataset(chosen.out, name) for name in list_datasets(chosen.out)}
    data = {name: prepared_set.fingerprint() for name, prepared_set in prepared.items()}
    classes = sorted(set().union(*(prepared_set.classes for prepared_set in prepared.values())))
    image_size = next(iter(prepared.values())).image_size
    check_augmentation(chosen, prepared)
    check_networks(chosen, image_size)
    if chosen.redeal:
        refuse_to_tear_apart(prepared)
    arrange_memory(max(chosen.batch_size) * image_size**2)
    # HOG_SVM is made for grey echoes. It is no measure on scenes, and takes minutes for 609 images of 21 classes.
    baselines = BASELINES if all(each.shows_ships for each in prepared.values()) else ("Majority",)
    runs = plan(chosen, MODELS, data, classes, baselines)
    ledger = Ledger(chosen.out, data, views(prepared), [*MODELS, *BASELINES], header(chosen, device))
    ledger.read_all(replaced=runs if chosen.overwrite else [])
    waiting = runs_to_train(runs, chosen)
    if chosen.list:
        print(listing(runs, waiting, chosen.out))
        return
    failures = carry_out(runs, waiting, chosen, device, ledger)
    print(format_table(ledger.rows(runs)))
    if chosen.profile and waiting:
        print(f"\n{device.profile.table(device.name, device.autocast_dtype)}")
    print(f"\nScores: {chosen.out / 'scores.csv'}  Models, curves, confusion matrices: {chosen.out / 'trained_models'}")
    failures.raise_any(len(waiting))


if __name__ == "__main__":
    run_command(main)
