"""What one option changes: each flaw, each loss and sampler, and what is left over."""

from dataclasses import replace

import numpy as np
import pytest

from sarship.comparison import effects
from sarship.comparison.configurations import read_configurations
from sarship.comparison.statistics import Answers
from sarship.comparison.tables import find
from sarship.protocols import PUBLISHED, STRICT
from tests.small_scores import SmallRun, make_scores, variant


def test_every_option_in_which_the_protocols_differ_is_turned_both_ways():
    for protocol, other in (("strict", PUBLISHED), ("published", STRICT)):
        turns = effects.turns(protocol)
        assert set(turns) == set(STRICT)
        assert all(turned.options[name] == other[name] for name, turned in turns.items())


def test_options_are_written_as_test_models_takes_them():
    assert effects.as_option("random_split", True) == "random-split"
    assert effects.as_option("random_split", False) == "no-random-split"
    assert effects.as_option("loss", "cross_entropy") == "loss cross_entropy"
    assert effects.as_option("learning_rate", None) == "learning-rate of each model"


def test_an_effect_is_turned_less_plain(configurations, bootstrap):
    table = effects.flaws(configurations, bootstrap).set_index(["Change", "Option", "Trained"])
    row = table.loc["turned on from strict", "random-split", "Fusar"]
    seed_1 = find(configurations, "CNN", "Fusar", "strict").own.of_seeds("MacroF1")[0]  # the only common seed
    assert row["As it is"] == pytest.approx(seed_1)
    assert row["MacroF1"] == pytest.approx(row["Turned"] - row["As it is"])
    assert row["MacroF1"] > 0 and row["MacroF1_low"] > 0  # the generator makes this flaw flatter
    assert (row["Seeds"], row["Chips"], row["Touched"]) == ("1 / 1", "other", True)
    mended = table.loc["mended from published", "no-random-split", "Fusar"]
    assert mended["MacroF1"] < 0
    heads = table.loc["turned on from strict", "heads published", "Mixed"]
    assert heads["Chips"] == "same" and heads["MacroF1_high"] < 0


def test_all_flaws_are_listed_and_untouched_ones_are_zero(configurations, bootstrap):
    summary = effects.flaw_summary(configurations, bootstrap)
    strict = summary[summary["Change"] == "turned on from strict"].set_index("Option")
    assert len(strict) == len(STRICT)
    for option, about in (("own-rows-scores", "precision"), ("pooled-cam", "heatmaps")):
        row = strict.loc[option]
        assert row["MacroF1"] == row["Accuracy"] == 0 and np.isnan(row["MacroF1_low"]) and np.isnan(row["MacroF1 p"])
        assert row["Touched"] == "0 of 2" and about in row["Only touches"]
    assert strict.loc["random-split", "MacroF1_low"] > 0
    assert strict.loc["random-split", "Only touches"] == ""


def test_summary_is_the_mean_over_what_is_touched(configurations, bootstrap):
    single = effects.flaws(configurations, bootstrap).set_index(["Change", "Option"])
    summary = effects.flaw_summary(configurations, bootstrap).set_index(["Change", "Option"])
    strict = "turned on from strict"
    assert summary.loc[(strict, "overlapping-mix"), "Touched"] == "1 of 2"  # Mixed, not Fusar
    of_mixed = single.loc[(strict, "overlapping-mix")].set_index("Trained").loc["Mixed"]
    assert summary.loc[(strict, "overlapping-mix"), "MacroF1"] == pytest.approx(of_mixed["MacroF1"])
    both = single.loc[(strict, "heads published")]
    assert summary.loc[(strict, "heads published"), "MacroF1"] == pytest.approx(both["MacroF1"].mean())


def test_a_flaw_of_testing_is_paired_by_seed(tmp_path, bootstrap):
    """Seeds that are far apart, one chip answered otherwise in each: sure to be small, for the weights are the same."""
    plain = [SmallRun("CNN", "Fusar", variant(), seed, collapsed=seed == 2) for seed in (1, 2, 3)]
    flipped = [SmallRun("CNN", "Fusar", variant(test_time_flip=True), seed, collapsed=seed == 2) for seed in (1, 2, 3)]
    reference, turned = read_configurations([make_scores(tmp_path, [*plain, *flipped])])
    results = [_first_answer_turned(result) for result in turned.own.results]
    turned = replace(turned, answers={"Fusar": Answers(turned.name, results)})
    row = effects.flaws([reference, turned], bootstrap).iloc[0]
    assert row["Touched"] and row["Seeds"] == "3 / 3"
    unpaired = bootstrap.difference([(turned.own, reference.own)], "MacroF1")
    assert row["MacroF1"] == unpaired.value
    assert row["MacroF1_high"] - row["MacroF1_low"] < 0.4 * (unpaired.high - unpaired.low)


def _first_answer_turned(result):
    probabilities = result.probabilities.copy()
    probabilities[0] = np.roll(probabilities[0], 1)
    return replace(result, probabilities=probabilities)


def test_baselines_are_shown_but_not_averaged(tmp_path, bootstrap):
    runs = [
        SmallRun(model, "Fusar", each)
        for model in ("CNN", "HOG_SVM")
        for each in (variant(), variant(random_split=True))
    ]
    found = read_configurations([make_scores(tmp_path, runs)])
    assert effects.flaws(found, bootstrap)["Model"].tolist() == ["CNN", "HOG_SVM"]
    assert effects.flaw_summary(found, bootstrap)["Touched"].tolist() == ["1 of 1"]


def test_own_rows_make_every_precision_whole(configurations):
    table = effects.own_rows_precision(configurations)
    assert table["Trained"].tolist() == ["Fusar", "Mixed"]
    assert (table["Fishing: own chips"] == 100).all()
    plain = find(configurations, "CNN", "Fusar", "strict").own
    of_seed_1 = plain.by_seed[0, plain.index("Precision Fishing")]
    assert table["Fishing: all chips"][0] == pytest.approx(of_seed_1) and of_seed_1 < 100


def test_losses_are_held_against_plain_cross_entropy(configurations, bootstrap):
    table = effects.losses(configurations, "Fusar", ("MacroF1", "Recall Fishing"), bootstrap)
    assert table["Loss"].tolist()[0] == "cross_entropy" and table["Sampler"].tolist()[0] == "none"
    assert table.iloc[0][["MacroF1 gain", "MacroF1 gain p", "Recall Fishing gain"]].isna().all()
    rows = table.set_index(["Loss", "Sampler"])
    assert set(rows.index) == {
        *((loss, sampler) for loss in ("cross_entropy", "focal") for sampler in ("none", "balanced")),
        ("weighted_cross_entropy", "none"),
    }
    best = rows.loc["focal", "balanced"]
    reference = rows.loc["cross_entropy", "none"]
    assert best["MacroF1 gain"] == pytest.approx(best["MacroF1"] - reference["MacroF1"])
    assert best["MacroF1 gain_low"] > 0 and best["MacroF1 gain Holm p"] < 0.05
    assert best["Recall Fishing gain"] == pytest.approx(best["Recall Fishing"] - reference["Recall Fishing"])


def test_losses_without_the_reference_have_no_gain(tmp_path, bootstrap):
    runs = [SmallRun("CNN", "Fusar", variant(loss=loss)) for loss in ("focal", "ldam")]
    table = effects.losses(read_configurations([make_scores(tmp_path, runs)]), "Fusar", ("MacroF1",), bootstrap)
    assert table["MacroF1"].notna().all() and table["MacroF1 gain"].isna().all()


def test_one_loss_alone_is_no_comparison_but_is_not_lost(tmp_path, bootstrap):
    found = read_configurations([make_scores(tmp_path, [SmallRun("CNN", "Fusar", variant(loss="focal"))])])
    assert effects.loss_configurations(found, "Fusar") == []
    assert effects.other_settings(found, bootstrap)["Variant"].tolist() == ["focal"]


def test_the_rarest_class_comes_first_and_absent_ones_last(configurations):
    own = find(configurations, "CNN", "Fusar", "strict").own
    assert effects.classes_by_rarity(own) == ["Fishing", "Tanker", "Cargo"]
    result = own.results[0]
    of_two = replace(result, labels=np.where(result.labels == 1, 2, result.labels))
    assert effects.classes_by_rarity(Answers("two", [of_two])) == ["Tanker", "Cargo", "Fishing"]


def test_what_no_other_table_is_about_is_an_other_setting(tmp_path, bootstrap):
    changed = [
        variant(augment="none"),
        variant("published", loss="focal"),
        variant(random_split=True, heads="published"),
    ]
    plain = [variant(), variant("published")]
    runs = [SmallRun("CNN", "Fusar", each) for each in [*plain, *changed, variant(random_split=True)]]
    table = effects.other_settings(read_configurations([make_scores(tmp_path, runs)]), bootstrap)
    assert table["Variant"].tolist() == [each.label for each in changed]
    assert table["Effect"].notna().all() and table["Chips"].tolist() == ["same", "same", "other"]


def test_what_other_tables_are_about_is_no_other_setting(configurations, bootstrap):
    assert effects.other_settings(configurations, bootstrap).empty
