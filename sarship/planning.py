"""Which runs a command makes, in which order, and what each starts from.

Runs come in an order in which those that others start from are first. What a run starts from is part of its settings:
`backbone` (where a frozen backbone comes from) and `start` (the run whose whole network it goes on with).
"""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from sarship.command import UserError
from sarship.names import BASELINES
from sarship.protocols import PROTOCOLS, STRICT, SWITCHES, UNNAMED, Variant, one_at_a_time
from sarship.resplit import MIXED, SPLIT_SWITCHES
from sarship.runs import Run, digest

HEAD_RATE = 1e-3  # learning rate of a transfer chain that trains a head only: that of the frozen models
# Settings that change how a run is tested or shown, and leave its weights alone.
TEST_SETTINGS = ("test_time_flip", "own_rows_scores", "pooled_cam", "protocol", "start")


def variants(chosen: argparse.Namespace) -> list[Variant]:
    """Every combination of the values that the options name; with --one-at-a-time, each once more for each flaw."""
    several = {"loss": chosen.loss, "sampler": chosen.sampler, "augment": chosen.augment, "unfreeze": chosen.unfreeze}
    found: dict[str, Variant] = {}
    for protocol, *values in product(chosen.protocol, *(several[name] or [None] for name in several)):
        named = {name: getattr(chosen, name) for name in STRICT if name not in several}
        named |= dict(zip(several, values, strict=True))
        named = {name: value for name, value in named.items() if value is not None}
        variant = Variant(protocol, {**PROTOCOLS[protocol], **UNNAMED, **named})
        for each in one_at_a_time(variant) if chosen.one_at_a_time else [variant]:
            found.setdefault(each.label, each)
    return list(found.values())


def training_sets(chosen: argparse.Namespace, prepared: Sequence[str]) -> list[str]:
    """What to train on, bases before chains; the base of each chain is among them.

    Raises UserError for a data set that is not prepared, or a chain that is none.
    """
    named = list(dict.fromkeys(chosen.trained or prepared))
    for name in named:
        parts = name.split("+")
        unknown = [part for part in parts if part not in prepared]
        if unknown:
            raise UserError(f"--trained {name}: {unknown[0]} is not prepared; there are {', '.join(prepared)}")
        if len(parts) > 2 or len(set(parts)) < len(parts):
            raise UserError(f"--trained {name}: a chain is one data set, +, and another, for instance Fusar+Mixed")
    bases = [name for name in named if "+" not in name]
    chains = [name for name in named if "+" in name]
    return list(dict.fromkeys([*bases, *(chain.split("+")[0] for chain in chains), *chains]))


def plan(chosen: argparse.Namespace, models: Mapping, data: Mapping[str, str], classes: list[str]) -> list[Run]:
    """All runs, those first that others start from.

    models: models.MODELS. data: fingerprint of each prepared data set.
    """
    names = training_sets(chosen, list(data))
    common = {"data": dict(data), "classes": classes, "split_seed": chosen.split_seed}
    runs: dict[str, Run] = {}
    for seed, variant in product(dict.fromkeys(chosen.seeds), variants(chosen)):
        for model in sorted(dict.fromkeys(chosen.models), key=lambda name: models[name].frozen):
            for trained in names:
                run = _network_run(chosen, models, common, runs, variant, model, trained, names, seed)
                runs.setdefault(run.stem, run)
    if chosen.baselines:
        for variant, model in product(variants(chosen), BASELINES):
            for trained in [name for name in names if "+" not in name]:
                run = _baseline_run(common, variant, model, trained, chosen.seeds[0])
                runs.setdefault(run.stem, run)
    return list(runs.values())


def _network_run(chosen, models, common, runs, variant, model, trained, names, seed) -> Run:
    """A network's run. runs: by stem, those it may start from."""
    is_chain = "+" in trained
    if not is_chain:  # nothing is frozen but what the model freezes
        variant = Variant(variant.protocol, {**variant.options, "unfreeze": UNNAMED["unfreeze"]})
    options = dict(variant.options)
    if options["learning_rate"] is None:
        head_only = is_chain and options["unfreeze"] == "none"
        options["learning_rate"] = HEAD_RATE if head_only else models[model].learning_rate
    start = _start(variant, model, trained, names, seed)
    settings = {
        **common,
        **options,
        "protocol": variant.protocol,
        "epochs": chosen.epochs,
        "batch_size": chosen.batch_size,
        "weight_decay": chosen.weight_decay,
        "precision": chosen.precision,
        **({"compile": True} if chosen.compile else {}),  # other rounding; runs without it are as they always were
        "start": start,
        **_backbone(chosen, models, variant, model, trained, list(common["data"]), seed, start),
    }
    key = _training_key(settings, model, trained, seed, models[model].frozen, runs)
    return Run(model, trained, seed, settings, variant.label, variant.flaws, variant.changed, key)


def _start(variant: Variant, model: str, trained: str, names: list[str], seed: int) -> str:
    """Stem of the run whose network this one goes on with; "" if it starts anew."""
    if "+" in trained:
        base_variant = Variant(variant.protocol, {**variant.options, "unfreeze": UNNAMED["unfreeze"]})
        return Run(model, trained.split("+")[0], seed, {}, base_variant.label).stem
    bases = [name for name in names if "+" not in name]
    if variant.options["carry_weights_over"] and trained != bases[0]:
        return Run(model, bases[bases.index(trained) - 1], seed, {}, variant.label).stem
    return ""


def _backbone(chosen, models, variant, model, trained, datasets, seed, start) -> dict:
    """Where a run's backbone starts: "random", "imagenet", the stem of another run, or a file's name and SHA-256."""
    if start:
        return {"backbone": start}
    if not models[model].frozen or chosen.backbone == "random":
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
    return {"backbone": Run(models[model].base, others[0], seed, {}, variant.label).stem}


def _training_key(settings: dict, model: str, trained: str, seed: int, frozen: bool, runs: Mapping[str, Run]) -> str:
    """Digest of what decides the weights: runs with the same one need to be trained once.

    A switch that cannot matter to this run counts as off.
    """
    decisive = {name: value for name, value in settings.items() if name not in TEST_SETTINGS}
    is_chain = "+" in trained
    matters = {
        "carry_weights_over": False,  # what it changes is `start`
        "overlapping_mix": trained.rpartition("+")[2] == MIXED,
        "drifting_batchnorm": frozen or is_chain,
        "detached_finetune": is_chain,
    }
    decisive |= {name: decisive[name] and matter for name, matter in matters.items()}
    for name in ("start", "backbone"):
        value = settings[name]
        decisive[name] = runs[value].training_key if value in runs else value
    return digest({**decisive, "model": model, "target": trained.rpartition("+")[2], "chain": is_chain, "seed": seed})


def _baseline_run(common: dict, variant: Variant, model: str, trained: str, seed: int) -> Run:
    """A baseline's run: of the variant's options, only those that change chips and scores mean anything to it."""
    meaningful = (*SPLIT_SWITCHES, "own_rows_scores")
    options = {**PROTOCOLS[variant.protocol], **UNNAMED}
    options |= {name: variant.options[name] for name in meaningful}
    own = Variant(variant.protocol, options)
    settings = {**common, **{name: options[name] for name in SWITCHES}, "protocol": variant.protocol}
    return Run(model, trained, seed, settings, own.label, own.flaws, own.changed)


def needs(run: Run) -> list[str]:
    """Stems of the runs that this one starts from."""
    from_run = [run.settings.get("start", "")]
    if not from_run[0] and "backbone_sha256" not in run.settings:
        from_run.append(run.settings.get("backbone", "random"))
    return [stem for stem in from_run if stem not in ("", "random", "imagenet")]
