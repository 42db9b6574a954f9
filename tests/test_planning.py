"""Which runs there are, what they start from, and which of them share their weights."""

import pytest

import test_models
from models import MODELS
from sarship.command import UserError
from sarship.planning import needs, plan
from sarship.protocols import STRICT

DATA = {"Fusar": "a", "OpenSARShip": "b", "Mixed": "c"}
SETS = list(DATA)


def planned(*words: str) -> dict:
    chosen = test_models.options([*words])
    return {run.stem: run for run in plan(chosen, MODELS, DATA, ["Cargo", "Tanker"])}


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
