"""Which runs a command makes, in which order, and what each starts from.

Runs come in an order in which those that others start from are first. What a run starts from is part of its settings:
`backbone` (where a frozen backbone comes from) and `start` (the run whose whole network it goes on with).
"""

import argparse
import hashlib
from collections.abc import Iterable, Mapping, Sequence
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
# Part of a run's name where a command has several values of them; of a single value, the name says nothing.
NAMED_IF_SEVERAL = ("batch_size", "weight_decay")
# Part of a run's settings only where they are used, so that runs without them are what they were before these came.
IF_USED = (
    "optimizer", "momentum", "final_learning_rate", "freeze_to", "dropout", "batch_norm", "redeal", "train_chips",
    "imbalance",
)  # fmt: skip
CHIP_OPTIONS = ("redeal", "train_chips", "imbalance")  # of those, what changes the chips themselves, by the seed


def variants(chosen: argparse.Namespace) -> list[Variant]:
    """Every combination of the values that the options name; with --one-at-a-time, each once more for each flaw.

    Raises UserError for options that do not go together.
    """
    several = {name: getattr(chosen, name) for name in ("loss", "sampler", "augment", "unfreeze")}
    several |= {name: values for name in NAMED_IF_SEVERAL if len(values := _different(chosen, name)) > 1}
    single = [name for name in (*STRICT, *UNNAMED) if name not in several and name not in NAMED_IF_SEVERAL]
    found: dict[str, Variant] = {}
    for protocol, *values in product(chosen.protocol, *(several[name] or [None] for name in several)):
        named = {name: getattr(chosen, name) for name in single}
        named |= dict(zip(several, values, strict=True))
        named = {name: value for name, value in named.items() if value is not None}
        variant = Variant(protocol, {**PROTOCOLS[protocol], **UNNAMED, **named})
        for each in one_at_a_time(variant) if chosen.one_at_a_time else [variant]:
            found.setdefault(each.label, each)
    if chosen.redeal:
        _refuse_to_deal_twice(found.values())
    return list(found.values())


def _different(chosen: argparse.Namespace, name: str) -> list:
    return list(dict.fromkeys(getattr(chosen, name)))


def _refuse_to_deal_twice(variants: Iterable[Variant]) -> None:
    for variant in variants:
        for name in SPLIT_SWITCHES:
            if variant.options[name]:
                raise UserError(f"--redeal and --{name.replace('_', '-')}: both deal the chips anew; leave one out")


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


def plan(
    chosen: argparse.Namespace,
    models: Mapping,
    data: Mapping[str, str],
    classes: list[str],
    baselines: Sequence[str] = BASELINES,
) -> list[Run]:
    """All runs, those first that others start from.

    models: models.MODELS. data: fingerprint of each prepared data set. baselines: names, of those that make sense here.
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
        for variant, model in product(variants(chosen), baselines):
            for trained in [name for name in names if "+" not in name]:
                for seed in dict.fromkeys(chosen.seeds) if _chips_go_by_seed(variant) else chosen.seeds[:1]:
                    run = _baseline_run(common, variant, model, trained, seed)
                    runs.setdefault(run.stem, run)
    return list(runs.values())


def _chips_go_by_seed(variant: Variant) -> bool:
    return any(name in variant.changed for name in CHIP_OPTIONS)


def _network_run(chosen, models, common, runs, variant, model, trained, names, seed) -> Run:
    """A network's run. runs: by stem, those it may start from."""
    is_chain = "+" in trained
    if not is_chain:  # nothing is frozen but what the model freezes
        variant = Variant(variant.protocol, {**variant.options, "unfreeze": UNNAMED["unfreeze"]})
    options = dict(variant.options)
    if options["learning_rate"] is None:
        head_only = is_chain and options["unfreeze"] == "none"
        options["learning_rate"] = HEAD_RATE if head_only else models[model].learning_rate
    if options["final_learning_rate"] > options["learning_rate"]:
        raise UserError(
            f"--final-learning-rate {options['final_learning_rate']:g}: is above the {options['learning_rate']:g} "
            f"that {model} begins with; choose a smaller one, or another --learning-rate"
        )
    start = _start(variant, model, trained, names, seed)
    settings = {
        **common,
        **{name: value for name, value in options.items() if name not in (*IF_USED, *NAMED_IF_SEVERAL)},
        "protocol": variant.protocol,
        "epochs": chosen.epochs,
        **{name: _value(chosen, variant, name) for name in NAMED_IF_SEVERAL},
        **_if_used(variant, seed),
        "precision": chosen.precision,
        **({"compile": True} if chosen.compile else {}),  # other rounding; runs without it are as they always were
        "start": start,
        **_backbone(chosen, models, variant, model, trained, list(common["data"]), seed, start),
    }
    key = _training_key(settings, model, trained, seed, models[model].frozen, runs)
    return Run(model, trained, seed, settings, variant.label, variant.flaws, variant.changed, key)


def _value(chosen: argparse.Namespace, variant: Variant, name: str):
    """That of the variant, where the command has several; else the only one."""
    return variant.options[name] if len(_different(chosen, name)) > 1 else getattr(chosen, name)[0]


def _if_used(variant: Variant, seed: int) -> dict:
    """The settings of IF_USED that are used. redeal: the seed of the deal; momentum: of SGD, always."""
    used = {name: variant.options[name] for name in IF_USED if name in variant.changed}
    if "redeal" in used:
        used["redeal"] = seed
    if "optimizer" in used:
        used["momentum"] = variant.options["momentum"]
    return used


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
    begins_elsewhere = models[model].frozen or variant.options["freeze_to"] is not None
    if not begins_elsewhere or chosen.backbone == "random":
        return {"backbone": "random"}
    if chosen.backbone == "imagenet":
        if not models[model].weights:
            raise UserError(
                f"--freeze-to {variant.options['freeze_to']}: there are no ImageNet weights of {model}; "
                "choose --backbone random, trained or a file"
            )
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
    base_variant = Variant(variant.protocol, {**variant.options, "freeze_to": UNNAMED["freeze_to"]})
    return {"backbone": Run(models[model].base or model, others[0], seed, {}, base_variant.label).stem}


def _training_key(settings: dict, model: str, trained: str, seed: int, frozen: bool, runs: Mapping[str, Run]) -> str:
    """Digest of what decides the weights: runs with the same one need to be trained once.

    A switch that cannot matter to this run counts as off.
    """
    decisive = {name: value for name, value in settings.items() if name not in TEST_SETTINGS}
    is_chain = "+" in trained
    matters = {
        "carry_weights_over": False,  # what it changes is `start`
        "overlapping_mix": trained.rpartition("+")[2] == MIXED,
        "drifting_batchnorm": frozen or is_chain or "freeze_to" in settings,
        "detached_finetune": is_chain,
    }
    decisive |= {name: decisive[name] and matter for name, matter in matters.items()}
    for name in ("start", "backbone"):
        value = settings[name]
        decisive[name] = runs[value].training_key if value in runs else value
    return digest({**decisive, "model": model, "target": trained.rpartition("+")[2], "chain": is_chain, "seed": seed})


def _baseline_run(common: dict, variant: Variant, model: str, trained: str, seed: int) -> Run:
    """A baseline's run: of the variant's options, only those that change chips and scores mean anything to it."""
    meaningful = (*SPLIT_SWITCHES, "own_rows_scores", *CHIP_OPTIONS)
    options = {**PROTOCOLS[variant.protocol], **UNNAMED}
    options |= {name: variant.options[name] for name in meaningful}
    own = Variant(variant.protocol, options)
    settings = {**common, **{name: options[name] for name in SWITCHES}, "protocol": variant.protocol}
    settings |= _if_used(own, seed)
    return Run(model, trained, seed, settings, own.label, own.flaws, own.changed)


def needs(run: Run) -> list[str]:
    """Stems of the runs that this one starts from."""
    from_run = [run.settings.get("start", "")]
    if not from_run[0] and "backbone_sha256" not in run.settings:
        from_run.append(run.settings.get("backbone", "random"))
    return [stem for stem in from_run if stem not in ("", "random", "imagenet")]
