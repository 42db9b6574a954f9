"""Which runs there are, what they start from, and which of them share their weights."""

import hashlib
import json

import pytest

import test_models
from models import MODELS
from sarship.command import UserError
from sarship.planning import IF_USED, needs, plan
from sarship.protocols import STRICT
from sarship.runs import digest

DATA = {"Fusar": "a", "OpenSARShip": "b", "Mixed": "c"}
SETS = list(DATA)


def planned(*words: str, classes: tuple[str, ...] = ("Cargo", "Tanker")) -> dict:
    chosen = test_models.options([*words])
    return {run.stem: run for run in plan(chosen, MODELS, DATA, list(classes))}


def test_without_options_every_model_on_every_set_and_two_baselines():
    runs = planned()
    assert len(runs) == 7 * 3
    assert "Fine_VGG_Mixed" in runs and "HOG_SVM_Fusar" in runs
    assert all(run.settings["protocol"] == "strict" and run.flaws == () for run in runs.values())


def test_the_transfer_study_has_nine_training_sets():
    chains = [f"{base}+{target}" for base in SETS for target in SETS if base != target]
    runs = planned("--trained", *SETS, *chains, "--no-baselines")
    assert len(runs) == 5 * 9  # each tested on three sets: 135 rows
    for run in runs.values():
        if run.is_chain:
            assert needs(run) == [f"{run.model}_{run.trained.split('+')[0]}"]


def test_the_base_of_a_chain_comes_first_even_if_it_was_not_named():
    runs = planned("--models", "CNN", "--trained", "Fusar+Mixed", "--no-baselines")
    assert list(runs) == ["CNN_Fusar", "CNN_Fusar+Mixed"]


def test_carried_weights_come_from_the_set_before():
    runs = planned("--models", "CNN", "--carry-weights-over", "--no-baselines", "--seeds", "2")
    suffix = "carry-weights-over_seed2"
    assert {stem: needs(run) for stem, run in runs.items()} == {
        f"CNN_Fusar_{suffix}": [],
        f"CNN_OpenSARShip_{suffix}": [f"CNN_Fusar_{suffix}"],
        f"CNN_Mixed_{suffix}": [f"CNN_OpenSARShip_{suffix}"],
    }


def test_everything_that_a_run_starts_from_is_before_it():
    chains = ["Mixed+Fusar", "Fusar+Mixed"]
    words = ["--trained", *chains, "OpenSARShip", "--protocol", "strict", "published", "--one-at-a-time"]
    seen: set[str] = set()
    for stem, run in planned(*words, "--backbone", "random", "--seeds", "1", "2").items():
        assert set(needs(run)) <= seen, stem
        seen.add(stem)


def test_several_values_are_combined():
    words = ["--models", "CNN", "--trained", "Mixed", "--no-baselines"]
    runs = planned(*words, "--loss", "cross_entropy", "focal", "--sampler", "none", "balanced")
    assert list(runs) == [
        "CNN_Mixed_cross_entropy",
        "CNN_Mixed_cross_entropy_balanced-sampler",
        "CNN_Mixed_focal",
        "CNN_Mixed_focal_balanced-sampler",
    ]


def test_how_much_is_unfrozen_matters_to_chains_only():
    words = ["--models", "CNN", "--trained", "Fusar", "Fusar+Mixed", "--no-baselines"]
    runs = planned(*words, "--unfreeze", "none", "last1", "all")
    assert list(runs) == [
        "CNN_Fusar",
        "CNN_Fusar+Mixed",
        "CNN_Fusar+Mixed_unfreeze-last1",
        "CNN_Fusar+Mixed_unfreeze-all",
    ]


def test_which_switches_move_the_weights():
    """On a chain: all but those that change testing; on a single set, not those of chains either."""
    chains = planned("--models", "ResNet", "--trained", "Fusar+Mixed", "--one-at-a-time", "--no-baselines")
    moved = {}
    for trained in ("Fusar", "Fusar+Mixed"):
        plain = chains[f"ResNet_{trained}"].training_key
        moved[trained] = {
            run.changed[0]
            for run in chains.values()
            if run.trained == trained and run.changed and run.training_key != plain
        }
    testing_only = {"test_time_flip", "own_rows_scores", "pooled_cam"}
    one_set = {"carry_weights_over"}  # nothing is before it
    assert moved["Fusar+Mixed"] == STRICT.keys() - testing_only - one_set
    assert moved["Fusar"] == moved["Fusar+Mixed"] - {"overlapping_mix", "drifting_batchnorm", "detached_finetune"}


def test_baselines_are_made_once_for_each_way_to_split_and_score():
    runs = planned("--models", "CNN", "--trained", "Fusar", "--loss", "focal", "ldam", "--random-split")
    assert [stem for stem in runs if "SVM" in stem] == ["HOG_SVM_Fusar_random-split"]


@pytest.mark.parametrize("words", [["Fusar+Fusar"], ["Fusar+Mixed+OpenSARShip"], ["Fusar+Moon"], ["Moon"], ["Fusar+"]])
def test_a_chain_that_is_none_is_refused(words):
    with pytest.raises(UserError, match="--trained"):
        planned("--trained", *words)


# -- runs that make no use of newer options are what they were before these came: literal values of that time

MANY_VALUES = "--epochs 7 --batch-size 16 --weight-decay 0.01 --learning-rate 0.01 --precision float32 --split-seed 3"
MANY_VALUES += " --compile"


@pytest.mark.parametrize(
    ("words", "count", "expected"),
    [
        ("", 21, "5b028034b627"),
        ("--backbone trained --seeds 1 2", 36, "367109444875"),
        ("--loss cross_entropy focal --sampler none balanced --augment strict sar", 126, "6e6aca9101bd"),
        ("--protocol strict published --one-at-a-time --trained Fusar Mixed Fusar+Mixed", 498, "4a9c2275acf4"),
        ("--trained Fusar Fusar+Mixed --unfreeze none last1 all --backbone random", 22, "27477f3fc03a"),
        (MANY_VALUES, 21, "1aedd015bfae"),
        ("--carry-weights-over --random-split --heads published --no-baselines --seeds 0 7", 30, "1388c033cd62"),
    ],
)
def test_plans_are_those_of_before(words, count, expected):
    runs = planned(*words.split(), classes=("Cargo", "Fishing", "Tanker")).values()
    parts = ("stem", "model", "trained", "seed", "settings", "variant", "flaws", "changed", "training_key")
    rows = [[getattr(run, part) for part in parts] for run in runs]
    assert len(rows) == count
    assert hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:12] == expected


DIGESTS = {  # of the settings, and of what decides the weights
    "CNN_Fusar": ("ad42056bad36", "1bd9d930d1e0"),
    "VGG_Fusar": ("a9155b425cb6", "316954fbfe19"),
    "ResNet_Fusar": ("a9155b425cb6", "84c37ae950f2"),
    "Fine_VGG_Fusar": ("4e2a055abd21", "87b425781d87"),
    "Fine_ResNet_Fusar": ("4e2a055abd21", "fc699c67ea93"),
}
SETTINGS = {
    "data": {"Fusar": "a", "OpenSARShip": "b", "Mixed": "c"},
    "classes": ["Cargo", "Fishing", "Tanker"],
    "split_seed": 1,
    "inverted_split": False,
    "random_split": False,
    "overlapping_mix": False,
    "test_time_flip": False,
    "carry_weights_over": False,
    "drifting_batchnorm": False,
    "detached_finetune": False,
    "own_rows_scores": False,
    "pooled_cam": False,
    "last_epoch": False,
    "heads": "fitted",
    "loss": "weighted_cross_entropy",
    "augment": "strict",
    "learning_rate": 0.001,
    "sampler": "none",
    "unfreeze": "none",
    "protocol": "strict",
    "epochs": 30,
    "batch_size": 32,
    "weight_decay": 0.0,
    "precision": "auto",
    "start": "",
    "backbone": "random",
}


def test_settings_and_digests_of_the_ship_networks_are_those_of_before():
    runs = planned("--trained", "Fusar", "--no-baselines", classes=("Cargo", "Fishing", "Tanker"))
    assert {stem: (digest(run.settings), run.training_key) for stem, run in runs.items()} == DIGESTS
    assert runs["CNN_Fusar"].settings == SETTINGS
    assert list(runs["CNN_Fusar"].settings) == list(SETTINGS), "in their order, too: it is that in the model file"


# -- what newer options add

ONE = ["--models", "CNN", "--trained", "Fusar", "--no-baselines"]
NEWER = {
    "optimizer": ("--optimizer sgd", "sgd", {"optimizer": "sgd", "momentum": 0.9}),
    "momentum": (
        "--optimizer sgd --momentum 0.5", "sgd_momentum-0.5", {"optimizer": "sgd", "momentum": 0.5},
    ),
    "final_learning_rate": ("--final-learning-rate 1e-4", "final-rate-0.0001", {"final_learning_rate": 1e-4}),
    "freeze_to": (
        "--freeze-to input --backbone random", "freeze-to-input", {"freeze_to": "input"},
    ),
    "dropout": ("--dropout 0", "dropout-0", {"dropout": 0.0}),
    "batch_norm": ("--no-batch-norm", "no-batch-norm", {"batch_norm": False}),
    "redeal": ("--redeal", "redeal", {"redeal": 1}),
    "train_chips": ("--train-chips 40", "train-chips-40", {"train_chips": 40}),
    "imbalance": ("--imbalance 10", "imbalance-10", {"imbalance": 10.0}),
}  # fmt: skip


def test_every_newer_option_is_among_them():
    assert set(NEWER) == set(IF_USED)


@pytest.mark.parametrize("name", NEWER)
def test_a_newer_option_is_in_name_and_settings_and_moves_the_weights(name):
    words, label, added = NEWER[name]
    (plain,) = planned(*ONE).values()
    (run,) = planned(*ONE, *words.split()).values()
    assert (run.variant, run.stem) == (label, f"CNN_Fusar_{label}")
    assert run.settings == plain.settings | added
    assert set(run.changed) == {key for key in added if (key, added[key]) != ("momentum", 0.9)}
    assert run.training_key != plain.training_key


def test_all_of_them_at_once_make_one_name():
    words = "--loss focal --sampler balanced --learning-rate 0.01 --optimizer sgd --final-learning-rate 1e-3"
    words += " --freeze-to 1 --backbone random --dropout 0.5 --no-batch-norm --redeal --train-chips 40 --imbalance 2.5"
    runs = planned(*ONE, *words.split(), "--batch-size", "32", "16", "--seeds", "3")
    name = "CNN_Fusar_focal_rate-0.01_balanced-sampler_sgd_final-rate-0.001{}_freeze-to-1_dropout-0.5_no-batch-norm"
    name += "_redeal_train-chips-40_imbalance-2.5_seed3"
    assert list(runs) == [name.format(""), name.format("_batch-size-16")]


def test_of_several_batch_sizes_and_decays_all_but_the_default_are_named():
    alone = planned(*ONE, "--batch-size", "16", "--weight-decay", "0.01")["CNN_Fusar"]
    assert (alone.settings["batch_size"], alone.settings["weight_decay"]) == (16, 0.01), "of one value, as ever"
    runs = planned(*ONE, "--batch-size", "16", "32", "64", "--weight-decay", "0", "0.01")
    assert {stem: (run.settings["batch_size"], run.settings["weight_decay"]) for stem, run in runs.items()} == {
        "CNN_Fusar_batch-size-16": (16, 0),
        "CNN_Fusar_batch-size-16_weight-decay-0.01": (16, 0.01),
        "CNN_Fusar": (32, 0),
        "CNN_Fusar_weight-decay-0.01": (32, 0.01),
        "CNN_Fusar_batch-size-64": (64, 0),
        "CNN_Fusar_batch-size-64_weight-decay-0.01": (64, 0.01),
    }
    assert runs["CNN_Fusar"] == planned(*ONE)["CNN_Fusar"], "the same run, whatever stands beside it"
    assert planned(*ONE, "--batch-size", "64", "16", "32") == planned(*ONE, "--batch-size", "16", "32", "64")
    assert list(planned(*ONE, "--batch-size", "16", "16")) == ["CNN_Fusar"]


def test_each_seed_is_a_deal_and_has_baselines_of_its_own():
    runs = planned("--models", "CNN", "--trained", "Fusar", "--redeal", "--seeds", "0", "1", "2")
    assert {stem: run.settings["redeal"] for stem, run in runs.items()} == {
        f"{model}_Fusar_redeal{suffix}": seed
        for model in ("CNN", "Majority", "HOG_SVM")
        for seed, suffix in ((0, "_seed0"), (1, ""), (2, "_seed2"))
    }


@pytest.mark.parametrize("option", ["--train-chips 5", "--imbalance 5"])
def test_baselines_train_on_the_chips_that_networks_train_on(option):
    runs = planned("--models", "CNN", "--trained", "Fusar", *option.split(), "--loss", "focal", "--seeds", "1", "2")
    label = option.removeprefix("--").replace(" ", "-")
    assert [stem for stem in runs if "SVM" in stem] == [f"HOG_SVM_Fusar_{label}", f"HOG_SVM_Fusar_{label}_seed2"]


@pytest.mark.parametrize(
    "words",
    [
        "--random-split",
        "--overlapping-mix",
        "--last-epoch",
        "--inverted-split",
        "--one-at-a-time",
        "--protocol published",
    ],
)
def test_chips_are_not_dealt_twice(words):
    with pytest.raises(UserError, match=r"--redeal and --\S+: both deal"):
        planned("--redeal", *words.split())


def test_where_networks_begin_that_are_frozen_to_a_layer():
    words = ["--trained", "Fusar", "--no-baselines", "--freeze-to", "input", "--models"]
    begin = {
        backbone: planned(*words, "VGG", "Fine_VGG", "--backbone", backbone) for backbone in ("imagenet", "random")
    }
    for backbone, runs in begin.items():
        assert [run.settings["backbone"] for run in runs.values()] == [backbone] * 2
    from_trained = planned(*words, "CNN", "Fine_VGG", "--backbone", "trained", "--seeds", "2")
    assert {stem: needs(run) for stem, run in from_trained.items()} == {
        "CNN_Fusar_freeze-to-input_seed2": ["CNN_OpenSARShip_seed2"],
        "Fine_VGG_Fusar_freeze-to-input_seed2": ["VGG_OpenSARShip_seed2"],
    }, "its base is not frozen to anything"
    with pytest.raises(UserError, match="no ImageNet weights of CNN"):
        planned(*words, "CNN")


def test_batch_norm_may_drift_where_layers_are_frozen_to():
    words = ["--models", "ResNet", "--trained", "Fusar", "--no-baselines", "--freeze-to", "layer1"]
    plain, drifting = (planned(*words, *more).values() for more in ([], ["--drifting-batchnorm"]))
    assert [run.training_key for run in plain] != [run.training_key for run in drifting]


def test_a_chain_begins_with_the_base_that_was_frozen_to_a_layer():
    runs = planned("--models", "VGG", "--trained", "Fusar+Mixed", "--no-baselines", "--freeze-to", "4")
    assert needs(runs["VGG_Fusar+Mixed_freeze-to-4"]) == ["VGG_Fusar_freeze-to-4"]


@pytest.mark.parametrize(
    "words", ["--models VGG --final-learning-rate 1e-3", "--learning-rate 1e-5 --final-learning-rate 1e-4"]
)
def test_a_learning_rate_does_not_end_above_its_beginning(words):
    with pytest.raises(UserError, match=r"--final-learning-rate .* is above"):
        planned("--trained", "Fusar", *words.split())


@pytest.mark.parametrize(
    "words",
    [
        "--momentum 0.5", "--momentum 1 --optimizer sgd", "--dropout 1", "--dropout -0.1", "--final-learning-rate -1",
        "--train-chips 0", "--imbalance 1", "--imbalance nan", "--imbalance inf", "--batch-size 16 1",
    ],
)  # fmt: skip
def test_values_that_cannot_be_are_refused(words):
    with pytest.raises(UserError, match=words.split()[0]):
        planned(*words.split())
