"""Runs of --redeal, whose seeds are tested on chips of their own; and every configuration against one reference."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import compare_scores
from sarship.command import UserError
from sarship.comparison import effects
from sarship.comparison.configurations import Configuration, read_configurations
from sarship.comparison.statistics import (
    Answers,
    Bootstrap,
    common_seeds,
    mcnemar,
    same_answers,
    same_chips,
    same_deals,
)
from sarship.scores import SetResult, write_predictions, write_scores
from tests.small_scores import SmallRun, result_of, score_row, variant

SEEDS = (1, 2, 3, 4)
PLAIN, BETTER = variant(loss="cross_entropy", redeal=True), variant(loss="focal", sampler="balanced", redeal=True)


def dealt(run: SmallRun) -> SetResult:
    """The answers of a run on the half of the chips that its seed deals into the test set; no vessel is known."""
    whole = result_of(run, "Fusar")
    kept = np.sort(np.random.default_rng(run.seed).permutation(len(whole.chips))[::2])
    return replace(
        whole,
        chips=[whole.chips[index] for index in kept],
        vessels=[""] * len(kept),
        labels=whole.labels[kept],
        probabilities=whole.probabilities[kept],
    )


def runs_of(*variants, seeds=SEEDS) -> list[SmallRun]:
    return [SmallRun("CNN", "Fusar", each, seed) for each in variants for seed in seeds]


def write_study(folder: Path, runs: list[SmallRun]) -> Path:
    results = [dealt(run) for run in runs]
    write_scores(folder / "scores.csv", [score_row(*pair) for pair in zip(runs, results, strict=True)])
    write_predictions(folder / "predictions.csv", results)
    return folder / "scores.csv"


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[Configuration]:
    """One as it is, and one with what makes runs of the made-up study better."""
    return read_configurations([write_study(tmp_path_factory.mktemp("dealt"), runs_of(PLAIN, BETTER))])


def test_each_seed_has_the_figures_that_it_has_alone(two):
    for configuration in two:
        answers = configuration.own
        for seed, result in enumerate(answers.results):
            alone = Answers("alone", [result])
            assert answers.by_seed[seed] == pytest.approx(alone.by_seed[0], nan_ok=True)
        assert answers.mean("MacroF1") == answers.of_seeds("MacroF1").mean()
        assert len(answers.vessels) == len(set().union(*(result.chips for result in answers.results)))
        assert answers.tallies[:, :, 3:6].sum(axis=(0, 2)).tolist() == [answers.chips] * len(SEEDS)


def test_where_all_seeds_have_the_same_chips_nothing_changes():
    results = [result_of(run, "Fusar") for run in runs_of(variant())]
    plain, redealt = Answers("CNN", results), Answers("CNN", results, redealt=True)
    assert plain.vessels == redealt.vessels
    assert np.array_equal(plain.tallies, redealt.tallies)
    bootstrap = Bootstrap(500)
    for interval in (bootstrap.interval, bootstrap.vessel_interval):
        assert interval(plain, "MacroF1") == interval(redealt, "MacroF1")


def test_other_chips_are_still_refused_where_they_were_not_dealt_anew(tmp_path):
    path = write_study(tmp_path, runs_of(variant(loss="focal")))
    with pytest.raises(UserError, match="its seeds were tested on different chips of Fusar"):
        read_configurations([path])


def test_which_sides_share_their_deals(two):
    one, other = (configuration.own for configuration in two)
    assert same_deals(one, other) and same_deals(one, one)
    assert not same_chips(one, other) and not same_chips(one, one)
    assert not same_answers(one, one), "there is no such thing as their chips"
    assert not same_deals(one, replace(other, results=other.results[:2]))
    assert not same_deals(one, replace(other, results=[*other.results[1:], other.results[0]]))
    assert not same_deals(one, replace(other, redealt=False, results=other.results[:1]))
    assert all(
        side.redealt and side.seeds == 1 for side in common_seeds(one, replace(other, results=other.results[:1]))
    )
    with pytest.raises(ValueError, match="different chips"):
        mcnemar(one, other)


def test_a_deal_is_paired_with_itself(two):
    """A deal that is hard for one is hard for the other: paired, the difference is known better."""
    one, other = (configuration.own for configuration in two)
    bootstrap = Bootstrap(2000)
    assert bootstrap.difference([(one, one)], "MacroF1", paired_seeds=True)[:3] == (0, 0, 0)
    paired, unpaired = (bootstrap.difference([(other, one)], "MacroF1", paired) for paired in (True, False))
    assert paired.value == unpaired.value
    assert paired.high - paired.low < unpaired.high - unpaired.low


def test_interval_over_deals_holds_the_truth():
    """80 studies of four deals of 120 chips, each trained network as good on new chips as the next: 95 % hold it."""
    generator = np.random.default_rng(0)
    held = 0
    for study in range(80):
        right = generator.random(120) < 0.8
        results = []
        for seed in range(4):
            kept = np.sort(generator.permutation(120)[:60])
            answers = np.where(right[kept], 0, 1)
            results.append(
                SetResult(
                    "A", "A", "CNN", seed, ("a", "b"), [f"{c}" for c in kept], [""] * 60, 0 * kept, np.eye(2)[answers]
                )
            )
        low, high = Bootstrap(400).interval(Answers(f"study {study}", results, redealt=True), "Accuracy")
        held += low <= 80 <= high
    assert held >= 0.88 * 80


def test_every_configuration_is_held_against_the_reference(two, bootstrap):
    table = effects.against(two, PLAIN.label, bootstrap).set_index("Variant")
    reference, other = table.loc[PLAIN.label], table.loc[BETTER.label]
    gain = two[1].own.mean("MacroF1") - two[0].own.mean("MacroF1")
    assert table.index[0] == PLAIN.label
    assert other["MacroF1 effect"] == pytest.approx(gain) and gain > 2
    assert other["MacroF1 effect_low"] > 0 and other["MacroF1 effect p"] < 0.05
    assert np.isnan(reference["MacroF1 effect"])
    assert reference["Accuracy"] == pytest.approx(two[0].own.mean("Accuracy"))
    assert reference["Accuracy_low"] < reference["Accuracy"] < reference["Accuracy_high"]
    assert list(table["Chips"]) == ["same", "same"]


def test_models_that_lack_the_reference_are_left_out(two, bootstrap):
    lacking = replace(two[1], model="VGG")
    assert list(effects.against([*two, lacking], PLAIN.label, bootstrap)["Model"]) == ["CNN", "CNN"]
    with pytest.raises(
        UserError, match="--reference 'none': nothing was run with that; there are 'cross_entropy_redeal'"
    ):
        effects.against(two, "none", bootstrap)


def test_the_command_prints_them(tmp_path, capsys):
    write_study(tmp_path, runs_of(PLAIN, BETTER, seeds=(1, 2)))
    compare_scores.main(["--out", str(tmp_path)])
    without = capsys.readouterr().out
    compare_scores.main(["--out", str(tmp_path), "--reference", PLAIN.label, "--html", "report.html"])
    text = capsys.readouterr().out
    assert text.startswith(without), "it adds a section, and leaves the others alone"
    section = text.removeprefix(without)
    assert section.lstrip().startswith(f"## Against {PLAIN.label}".replace("_", r"\_")) or "## Against" in section
    assert "| CNN" in section and "Accuracy effect" in section
    assert "Against" in (tmp_path / "report.html").read_text()
