"""What is done for one run, wherever it is carried out: train its network, test it, write its model file and figures.

`carry_out_here` and `carry_out_elsewhere` are given a run by an engine; `sarship/engines.py` says which there are.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch

from models import ShipNetwork, build, frozen_layers, load_imagenet_backbone, load_trained_backbone
from sarship.augment import draw_flips
from sarship.baselines import hog_svm, majority
from sarship.command import log
from sarship.device import Device, arrange_memory, choose_device
from sarship.distributed import is_first, processes, told
from sarship.engines import Hear, Message
from sarship.failures import attempt
from sarship.familiarity import fit_familiarity
from sarship.features import FeatureStore
from sarship.losses import COSINE_LOSSES
from sarship.names import BASELINES
from sarship.pool import available_cores
from sarship.prepared import CACHE, PreparedSet, list_datasets, read_dataset
from sarship.quiet import be_quiet
from sarship.resplit import views
from sarship.run_report import draw
from sarship.runs import Run, model_path, read_run, state_of, write_run
from sarship.thinning import thinned
from sarship.training import LabelledChips, Progress, Recipe, fit, predict, predict_sets

Views = Callable[[Mapping], Mapping[str, PreparedSet]]  # of a run's settings: the prepared sets as it splits them


@dataclass(frozen=True)
class Order:
    """What an engine is told: a run, and the command's options.

    twin: the model file of a run that differs in testing only, if there is one: its weights are this run's, too.
    """

    run: Run
    chosen: argparse.Namespace
    twin: Path | None

    @property
    def stem(self) -> str:
        return self.run.stem


def for_elsewhere(chosen: argparse.Namespace) -> argparse.Namespace:
    """The options as they are to be understood in another process, in whichever folder that may be."""
    own = argparse.Namespace(**vars(chosen))
    own.out = chosen.out.absolute()
    if Path(chosen.backbone).is_file():
        own.backbone = str(Path(chosen.backbone).absolute())
    if chosen.cpus_per_run is None and processes() == 1:
        own.cpus_per_run = 1 if chosen.ray is not None else max(1, available_cores() // chosen.jobs)
    return own


def carry_out_here(order: Order, hear: Hear, views: Views, device: Device) -> str | None:
    """Train and test a run, and leave its model file; returns why it failed, None if it did not."""
    hear(Message(order.stem, "begun"))
    report = order.run.path(order.chosen.out).with_suffix(".failed.txt")
    return attempt(lambda: _carry_out(order, hear, views(order.run.settings), device), report)


def carry_out_elsewhere(order: Order, hear: Hear) -> str | None:
    """`carry_out_here`, in a process that knows nothing but its orders, and keeps what several of them need."""
    chosen = order.chosen
    be_quiet(lambda line: hear(Message(order.stem, "log", line)))
    if chosen.cpus_per_run:
        torch.set_num_threads(chosen.cpus_per_run)
    seen, image_size = _study(chosen.out, tuple(order.run.settings["data"].items()))
    arrange_memory(order.run.settings.get("batch_size", 1) * image_size**2)
    return carry_out_here(order, hear, seen, choose_device(chosen.device, chosen.precision))


@cache
def _study(out: Path, data: tuple) -> tuple[Views, int]:
    """Prepared sets as runs see them, and the side of their chips. data: what they hold, so that it is never old."""
    prepared = {name: read_dataset(out, name) for name in list_datasets(out)}
    return views(prepared), next(iter(prepared.values())).image_size


def _carry_out(order: Order, hear: Hear, view: Mapping[str, PreparedSet], device: Device) -> None:
    run, chosen = order.run, order.chosen
    if chosen.fresh and is_first():
        run.checkpoint(chosen.out).remove()
    twin = told(order.twin)  # and all wait until the first process is here
    with device.profile.run(run.stem):
        if run.model not in BASELINES:
            train_network(run, chosen, view, device, twin, hear)
        elif is_first():
            run_baseline(run, chosen, view, device)
        if chosen.figures and is_first():
            with device.profile.part("writing"):
                draw(run, chosen.out, view)


def train_network(
    run: Run,
    chosen: argparse.Namespace,
    view: Mapping[str, PreparedSet],
    device: Device,
    twin: Path | None,
    hear: Hear,
) -> None:
    """Train the run's network, or take over the weights of `twin`, test it on every test set, write its model file."""
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
    progress = take_over(network, twin) if twin else fit_network(network, run, chosen, source, device, store, hear)
    network.to(device.name, memory_format=torch.channels_last)  # in another order of memory, rounding differs
    tests = test_network(network, run, view, device, store)
    if not is_first():
        return
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
    hear: Hear,
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
    progress = fit(
        network, train, val, recipe, device, run.checkpoint(chosen.out), store,
        lambda row: hear(Message(run.stem, "epoch", row)),
    )  # fmt: skip
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
