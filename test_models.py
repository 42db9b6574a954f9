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

    python test_models.py --jobs 4                            # four runs side by side on this machine
    python test_models.py --ray auto --gpus-per-run 0.5       # the runs over a Ray cluster; see docs/cluster.md
    torchrun --nproc-per-node 4 test_models.py                # each run over four GPUs of this machine
    torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:29500 test_models.py
                                                              # of two: start it on both, HOST is one of them

Trains every chosen model on every chosen data set; the validation macro-F1 picks the epoch; every run is then tested
once on the test set of *every* prepared data set. A killed command goes on where it stopped when it is started again
with the same options. The tables hold every run that has a model file below --out.
"""

import argparse
from collections.abc import Mapping
from contextlib import ExitStack, closing
from functools import partial
from itertools import product
from pathlib import Path

import torch
from torch import nn

from models import MODELS, SHIP_MODELS, UNFREEZE, build, freeze_to
from one_run import Order, carry_out_elsewhere, carry_out_here, for_elsewhere
from sarship.augment import AUGMENTATIONS
from sarship.bookkeeping import Bookkeeping
from sarship.checks import check_augmentation, check_options
from sarship.command import UserError, command_parser, parse, run_command
from sarship.device import Device, arrange_memory, choose_device
from sarship.distributed import agree, is_first, joined, processes, told
from sarship.engines import Engine, Hear, Here, Processes
from sarship.failures import Failures
from sarship.files import writable_folder
from sarship.ledger import Ledger
from sarship.locking import locked
from sarship.losses import LOSSES
from sarship.names import BASELINES
from sarship.planning import plan
from sarship.prepared import PreparedSet, list_datasets, read_dataset
from sarship.profiling import Profile
from sarship.protocols import PROTOCOLS, SWITCHES, UNNAMED
from sarship.ray_engine import RayCluster
from sarship.resplit import refuse_to_tear_apart, views
from sarship.run_report import header
from sarship.runs import Run
from sarship.sampling import SAMPLERS
from sarship.scheduling import schedule
from sarship.scores import format_table
from sarship.tracking import Tracking
from sarship.training import OPTIMIZERS
from sarship.waiting import listing, runs_to_train


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
    # -- where
    add("--jobs", type=int, default=1, metavar="N", help="runs side by side on this machine")
    add("--ray", metavar="ADDRESS", help="runs as tasks of a Ray cluster; auto: the one that this machine is part of")
    add("--cpus-per-run", type=int, metavar="N",
        help="threads of a run; with other numbers, rounding differs (without: all cores, those of a job with --jobs, "
             "1 with --ray)")  # fmt: skip
    add("--gpus-per-run", type=float, metavar="N",
        help="with --ray, also a fraction (without: 1 where the cluster has GPUs, unless --device cpu)")  # fmt: skip
    # -- shown elsewhere, too
    add("--tensorboard", type=Path, metavar="DIR", help="each run's losses and scores for TensorBoard, below --out")
    add("--mlflow", metavar="URI", help="log runs with the MLflow server there, say http://127.0.0.1:5000")
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


def carry_out(
    runs: list[Run],
    waiting: list[Run],
    chosen: argparse.Namespace,
    device: Device,
    ledger: Ledger,
    prepared: Mapping[str, PreparedSet],
) -> Failures:
    """Train and test every run of `waiting`, keeping the tables up to date; a run that fails stops no other, but those
    that start from it."""
    writable_folder(chosen.out / "trained_models")
    side_by_side = chosen.jobs > 1 or chosen.ray is not None
    if side_by_side or processes() > 1:
        for prepared_set in prepared.values() if is_first() and waiting else ():
            prepared_set.pixels("test")  # decoded once for all
        chosen = for_elsewhere(chosen)
    boards = chosen.out / chosen.tensorboard if chosen.tensorboard else None
    tracking = Tracking(boards, chosen.mlflow, chosen.out) if is_first() else Tracking(None, None, chosen.out)
    books = Bookkeeping(runs, waiting, chosen, ledger, tracking, side_by_side)

    def order(run: Run) -> Order:
        return Order(run, chosen, ledger.path_by_key.get(run.training_key))

    try:
        with closing(choose_engine(chosen, books.hear, ledger, device)) as engine:
            schedule(waiting, engine, order, books.done, books.failures)
    finally:
        books.close()
    return books.failures


def choose_engine(chosen: argparse.Namespace, hear: Hear, ledger: Ledger, device: Device) -> Engine:
    """Who carries out the runs."""
    if chosen.ray is not None:
        gpus = 0 if chosen.device == "cpu" else chosen.gpus_per_run
        return RayCluster(carry_out_elsewhere, hear, chosen.ray, chosen.cpus_per_run, gpus)
    if chosen.jobs > 1:
        return Processes(carry_out_elsewhere, hear, chosen.jobs)
    return Here(partial(carry_out_here, views=ledger.views, device=device), hear)


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    with joined(chosen.device), ExitStack() as held:
        if is_first():
            held.enter_context(locked(chosen.out, "prepared", shared=True))
        if is_first() and not chosen.list:
            held.enter_context(locked(chosen.out, "trained_models"))
        told(None)  # the folder is ours
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
    if chosen.cpus_per_run:
        torch.set_num_threads(chosen.cpus_per_run)
    # HOG_SVM is made for grey echoes. It is no measure on scenes, and takes minutes for 609 images of 21 classes.
    baselines = BASELINES if all(each.shows_ships for each in prepared.values()) else ("Majority",)
    runs = plan(chosen, MODELS, data, classes, baselines)
    ledger = Ledger(chosen.out, data, views(prepared), [*MODELS, *BASELINES], header(chosen, device))
    ledger.read_all(replaced=runs if chosen.overwrite else [])
    waiting = runs_to_train(runs, chosen)
    agree([run.stem for run in waiting], f"runs below {chosen.out}")
    if chosen.list:
        print(listing(runs, waiting, chosen.out))
        return
    failures = carry_out(runs, waiting, chosen, device, ledger, prepared)
    print(format_table(ledger.rows(runs)))
    if chosen.profile and waiting:
        print(f"\n{device.profile.table(device.name, device.autocast_dtype)}")
    print(f"\nScores: {chosen.out / 'scores.csv'}  Models, curves, confusion matrices: {chosen.out / 'trained_models'}")
    failures.raise_any(len(waiting))


if __name__ == "__main__":
    run_command(main)
