"""What test_models.py refuses before it trains anything."""

import argparse
import math
from collections.abc import Mapping

from sarship.augment import AUGMENTATIONS
from sarship.command import UserError
from sarship.distributed import started_together
from sarship.prepared import PreparedSet, read_options
from sarship.protocols import UNNAMED


def check_options(chosen: argparse.Namespace) -> None:
    """UserError for values that cannot be."""
    if chosen.epochs < 1 or min(chosen.batch_size) < 2:
        raise UserError("--epochs must be 1 or more and --batch-size 2 or more")
    if min(chosen.split_seed, *chosen.seeds) < 0:
        raise UserError("--seeds and --split-seed must be 0 or more")
    if not 0 <= chosen.momentum < 1 or not 0 <= (chosen.dropout or 0) < 1:
        raise UserError("--momentum and --dropout must be 0 or more and below 1")
    if chosen.optimizer != "sgd" and chosen.momentum != UNNAMED["momentum"]:
        raise UserError(f"--momentum {chosen.momentum:g}: is of --optimizer sgd; choose that, or leave it out")
    if chosen.final_learning_rate < 0:
        raise UserError(f"--final-learning-rate {chosen.final_learning_rate:g}: must be 0 or more")
    _check_where(chosen)
    if chosen.train_chips is not None and chosen.train_chips < 1:
        raise UserError(f"--train-chips {chosen.train_chips}: must be 1 or more")
    if chosen.imbalance is not None and not 1 < chosen.imbalance < math.inf:
        raise UserError(f"--imbalance {chosen.imbalance:g}: must be more than 1")


def _check_where(chosen: argparse.Namespace) -> None:
    """Options of where runs are carried out."""
    whole = [count for count in (chosen.jobs, chosen.cpus_per_run) if count is not None]
    if min(whole) < 1 or not 0 <= (chosen.gpus_per_run or 0) < math.inf:
        raise UserError("--jobs and --cpus-per-run must be 1 or more, and --gpus-per-run 0 or more")
    side_by_side = "--ray" if chosen.ray is not None else "--jobs" if chosen.jobs > 1 else ""
    if chosen.ray is not None and chosen.jobs > 1:
        raise UserError("--jobs and --ray: the cluster decides how many runs are side by side; leave --jobs out")
    if chosen.gpus_per_run is not None and chosen.ray is None:
        raise UserError("--gpus-per-run: is for --ray; with --jobs, the runs share the GPUs of this machine")
    if side_by_side and chosen.profile:
        raise UserError(f"--profile and {side_by_side}: runs side by side take each other's time; leave one out")
    if started_together() > 1 and (side_by_side or chosen.compile):
        raise UserError(f"torchrun and {side_by_side or '--compile'}: do not go together; leave one out")


def check_augmentation(chosen: argparse.Namespace, prepared: Mapping[str, PreparedSet]) -> None:
    """UserError if an augmentation takes pixels for amplitude that are decibels or colours."""
    amplitude_only = [name for name in chosen.augment or () if AUGMENTATIONS[name].needs_amplitude]
    made_with = chosen.out / "prepared" / "options.json"
    if amplitude_only and made_with.exists() and read_options(chosen.out)["options"].get("pixels") == "calibrated":
        raise UserError(
            f"--augment {amplitude_only[0]}: its speckle and gain are made for amplitude, and the chips were prepared "
            "with --pixels calibrated (dB); choose --augment strict, or prepare with --pixels uint8"
        )
    for name, prepared_set in prepared.items() if amplitude_only else ():
        if prepared_set.bands != "grey":
            raise UserError(
                f"--augment {amplitude_only[0]}: its speckle and gain are made for the amplitude of one band, and "
                f"{name} has chips in colour; choose --augment strict or land_use"
            )
