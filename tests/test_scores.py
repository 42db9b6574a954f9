"""Scores equal scikit-learn's, hold in the corner cases, and come back from predictions.csv as they were."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from sarship.command import UserError
from sarship.scores import (
    BOOTSTRAP_DRAWS,
    SetResult,
    expected_calibration_error,
    format_table,
    macro_f1_interval,
    macro_f1_of_confusions,
    read_predictions,
    score,
    vessel_confusions,
    write_predictions,
    write_scores,
)

SHIPS = ("Cargo", "Fishing", "Tanker")


def make_result(labels, probabilities, vessels=None, classes=SHIPS, model="CNN") -> SetResult:
    n = len(labels)
    return SetResult(
        trained="Fusar",
        tested="OpenSARShip",
        model=model,
        seed=3,
        classes=classes,
        chips=[f"chip{index}" for index in range(n)],
        vessels=[str(index) for index in range(n)] if vessels is None else vessels,
        labels=np.asarray(labels),
        probabilities=np.asarray(probabilities),
    )


def random_result(seed: int, n: int = 60, classes=SHIPS, n_vessels: int = 20) -> SetResult:
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(classes), size=n)
    probabilities = rng.dirichlet(np.ones(len(classes)), size=n)
    return make_result(labels, probabilities, vessels=rng.integers(n_vessels, size=n).astype(str), classes=classes)


@st.composite
def results(draw) -> SetResult:
    """Any labels and answers: random ones, a class without chips, answers of one class only."""
    k = draw(st.integers(2, 5))
    n = draw(st.integers(1, 40))
    labels = draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n))
    answers = draw(st.lists(st.integers(0, draw(st.integers(0, k - 1))), min_size=n, max_size=n))
    sure = draw(st.floats(0.55, 1))
    probabilities = np.full((n, k), (1 - sure) / (k - 1))
    probabilities[np.arange(n), answers] = sure
    return make_result(labels, probabilities, classes=tuple(f"Class{index}" for index in range(k)))


@given(result=results())
@settings(max_examples=60, deadline=None)
def test_figures_equal_scikit_learn(result):
    row, truth, answers, k = score(result), result.labels, result.predictions, len(result.classes)
    report = metrics.classification_report(
        truth, answers, labels=range(k), target_names=result.classes, output_dict=True, zero_division=0
    )
    weighted = report["weighted avg"]
    expected = {
        "Accuracy": metrics.accuracy_score(truth, answers),
        "Precision": weighted["precision"],
        "Recall": weighted["recall"],
        "F1": weighted["f1-score"],
        "MacroF1": report["macro avg"]["f1-score"],
        "MCC": metrics.matthews_corrcoef(truth, answers) if len({*truth, *answers}) > 1 else 0,
    }
    for index, name in enumerate(result.classes):
        one_vs_rest = truth == index, answers == index
        expected[f"{name}-Accuracy"] = metrics.accuracy_score(*one_vs_rest)
        expected[f"{name}-Precision"] = metrics.precision_score(*one_vs_rest, zero_division=0)
        expected[f"{name}-Recall"] = metrics.recall_score(*one_vs_rest, zero_division=0)
        expected[f"{name}-F1"] = metrics.f1_score(*one_vs_rest, zero_division=0)
    assert {column: row[column] for column in expected} == pytest.approx(
        {column: 100 * value for column, value in expected.items()}, abs=0.00501
    )
    assert row["Collapsed"] == (len(set(answers)) == 1)
    assert row["MacroF1_low"] <= row["MacroF1_high"]


@pytest.mark.parametrize("classes", [SHIPS, ("Cargo", "Tanker")])
def test_balanced_accuracy_and_auroc_equal_scikit_learn(classes):
    result = random_result(5, classes=classes)
    row = score(result)
    if len(classes) == 2:
        auroc = metrics.roc_auc_score(result.labels, result.probabilities[:, 1])
    else:
        auroc = metrics.roc_auc_score(result.labels, result.probabilities, multi_class="ovr", average="macro")
    assert row["AUROC"] == pytest.approx(100 * auroc, abs=0.00501)
    balanced = metrics.balanced_accuracy_score(result.labels, result.predictions)
    assert row["BalancedAccuracy"] == pytest.approx(100 * balanced, abs=0.00501)


def test_absent_class_lowers_macro_f1_and_leaves_auroc_empty():
    result = make_result([0, 0, 1, 1], np.eye(3)[[0, 0, 1, 1]])
    row = score(result)
    assert row["AUROC"] is None
    assert row["BalancedAccuracy"] == 100
    assert row["MacroF1"] == 66.67


def test_published_counts_and_all_cargo_give_the_published_row():
    """Fusar's published test set: 1692 Cargo, 632 Fishing, 199 Tanker; the rows of VGG and Fine_ResNet."""
    labels = np.repeat([0, 1, 2], [1692, 632, 199])
    row = score(make_result(labels, np.tile([1.0, 0, 0], (len(labels), 1))))
    assert (row["Accuracy"], row["Precision"], row["Recall"], row["F1"]) == (67.06, 44.97, 67.06, 53.84)
    assert row["Collapsed"] is True
    # One-vs-rest, so not the published 100 and 0: those count only the class's own chips.
    assert [row[f"C-{figure}"] for figure in ("Accuracy", "Precision", "Recall", "F1")] == [67.06, 67.06, 100, 80.28]
    assert [row[f"F-{figure}"] for figure in ("Accuracy", "Precision", "Recall", "F1")] == [74.95, 0, 0, 0]
    assert [row[f"T-{figure}"] for figure in ("Accuracy", "Precision", "Recall", "F1")] == [92.11, 0, 0, 0]
    assert (row["BalancedAccuracy"], row["MCC"], row["AUROC"]) == (33.33, 0, 50)


def test_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    labels = np.array([0, 1, 1, 0])
    # 0.9 twice, one right: |1 - 1.8|; 0.6 right and alone in (8/15, 9/15]: |1 - 0.6|; 0.7 wrong: |0 - 0.7|.
    assert expected_calibration_error(labels, probabilities) == pytest.approx((0.8 + 0.4 + 0.7) / 4)
    assert expected_calibration_error(np.array([0, 0]), np.array([[1.0, 0], [1.0, 0]])) == 0


def test_interval_equals_a_plain_loop_over_the_same_draws():
    result, draws, seed = random_result(8), 50, 4
    confusions = vessel_confusions(result)
    n_vessels = len(confusions)
    counts = np.random.default_rng(seed).multinomial(n_vessels, np.full(n_vessels, 1 / n_vessels), size=draws)
    order = list(dict.fromkeys(result.vessels))
    vessels = np.array(result.vessels)
    looped = []
    for times in counts:
        rows = np.concatenate([np.flatnonzero(vessels == order[v]) for v in range(n_vessels) for _ in range(times[v])])
        looped.append(
            metrics.f1_score(
                result.labels[rows], result.predictions[rows], labels=range(3), average="macro", zero_division=0
            )
        )
    assert macro_f1_interval(result, draws, seed) == pytest.approx(tuple(np.percentile(looped, (2.5, 97.5))))


def test_interval_holds_the_truth_about_as_often_as_it_says():
    """300 test sets from one known confusion: the 95 % interval holds its macro F1 in 90 to 99 % of them."""
    confusion = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]])
    truth = macro_f1_of_confusions(confusion)
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        labels = rng.integers(3, size=150)
        answers = np.array([rng.choice(3, p=confusion[label]) for label in labels])
        low, high = macro_f1_interval(make_result(labels, np.eye(3)[answers]), draws=300)
        held += low <= truth <= high
    assert 0.90 <= held / 300 <= 0.99


def test_interval_widens_where_chips_of_a_vessel_are_alike():
    rng = np.random.default_rng(1)
    labels = np.repeat(rng.integers(3, size=50), 8)
    vessels = np.repeat(np.arange(50), 8).astype(str)
    right = rng.random(50) < 0.6
    alike = np.where(np.repeat(right, 8), labels, (labels + 1) % 3)
    own = np.where(rng.random(400) < 0.6, labels, (labels + 1) % 3)
    low_alike, high_alike = macro_f1_interval(make_result(labels, np.eye(3)[alike], vessels))
    low_own, high_own = macro_f1_interval(make_result(labels, np.eye(3)[own], vessels))
    # Eight alike chips count as one: about sqrt(8) times as wide.
    assert high_alike - low_alike > 2 * (high_own - low_own)


def test_chip_without_a_vessel_id_is_a_vessel_of_its_own():
    unknown = make_result([0, 1, 2, 0], np.eye(3)[[0, 1, 2, 1]], vessels=["", "", "2", "2"])
    assert vessel_confusions(unknown).sum(axis=(1, 2)).tolist() == [1, 1, 2]


def test_vessel_confusions_sum_to_scikit_learns():
    result = random_result(2)
    expected = metrics.confusion_matrix(result.labels, result.predictions)
    assert (vessel_confusions(result).sum(axis=0) == expected).all()


def test_scores_come_out_the_same_from_the_file(tmp_path):
    ships, two = random_result(1), random_result(2, classes=("Cargo", "Tanker"))
    unknown_vessel = replace(ships, model="VGG", vessels=["", *ships.vessels[1:]])
    written = [ships, unknown_vessel, replace(two, model="HOG_SVM")]
    path = tmp_path / "predictions.csv"
    write_predictions(path, written)
    for before, after in zip(written, read_predictions(path), strict=True):
        assert (after.probabilities == before.probabilities).all()
        assert (after.classes, list(after.chips), list(after.vessels)) == (
            before.classes,
            list(before.chips),
            list(before.vessels),
        )
        assert score(after) == score(before)


@given(exponent=st.floats(-300, 0), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_probabilities_come_back_to_the_last_bit(tmp_path_factory, exponent, seed):
    small = 10.0**exponent * np.random.default_rng(seed).random()
    path = tmp_path_factory.mktemp("bits") / "predictions.csv"
    write_predictions(path, [make_result([0], [[1 - small, small, 0]])])
    assert read_predictions(path)[0].probabilities[0].tolist() == [1 - small, small, 0]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "cannot be read"),
        ("Trained,Tested,Model,Seed,Variant,chip,vessel,label,p_Cargo\n", "no rows"),
        ("Trained,Tested,Model,Seed,Variant,chip,label,p_Cargo\nA,A,CNN,0,,c,Cargo,1\n", "column vessel"),
        ("Trained,Tested,Model,Seed,Variant,chip,vessel,label,p_Cargo\nA,A,CNN,0,,c,1,Cargo,half\n", "half"),
        ("Trained,Tested,Model,Seed,Variant,chip,vessel,label,p_Cargo\nA,A,CNN,0,,c,1,Tug,1\n", "none"),
    ],
)
def test_bad_predictions_file_is_named_in_one_line(tmp_path, text, named):
    path = tmp_path / "predictions.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=named) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)


def test_scores_file_has_the_columns_of_the_design_in_order(tmp_path):
    run = {"Protocol": "strict", "Loss": "cross_entropy", "Sampler": "balanced", "Backbone": "", "Epochs": 4}
    rows = [score(make_result([0, 0, 1, 1], np.eye(3)[[0, 0, 1, 1]])) | run | {"Seconds": 1.5}]
    write_scores(tmp_path / "scores.csv", rows)
    with (tmp_path / "scores.csv").open(newline="") as file:
        header, cells = csv.reader(file)
    figures = ["Accuracy", "Precision", "Recall", "F1"]
    assert header == [
        *["Trained", "Tested", "Model", *figures, *[f"{prefix}-{figure}" for prefix in "CFT" for figure in figures]],
        *["MacroF1", "BalancedAccuracy", "MCC", "AUROC", "ECE", "MacroF1_low", "MacroF1_high", "Collapsed"],
        *[
            "Protocol",
            "Loss",
            "Sampler",
            "Backbone",
            "Seed",
            "Epochs",
            "Seconds",
            "TestChips",
            "Augment",
            "Heads",
            "Unfreeze",
            "LearningRate",
            "Flaws",
            "Changed",
            "Variant",
            "Stopped",
        ],
    ]
    row = dict(zip(header, cells, strict=True))
    assert row["Accuracy"] == "100.00" and row["AUROC"] == "" and row["Collapsed"] == "False"
    assert row["TestChips"] == "4" and row["Seed"] == "3" and row["Seconds"] == "1.5"


def test_other_classes_have_their_full_name():
    row = score(random_result(0, classes=("Cargo", "Tug")))
    assert "C-F1" in row and "Tug-F1" in row


def test_table_is_aligned_and_holds_the_figures():
    rows = [score(random_result(0)), score(make_result([0, 1], [[1, 0, 0], [1, 0, 0]], model="Fine_ResNet"))]
    lines = format_table(rows).splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert f"{rows[0]['MacroF1']:.2f} [{rows[0]['MacroF1_low']:.2f}" in lines[2]
    assert lines[3].endswith("yes |")


def test_result_of_unequal_lengths_is_refused():
    with pytest.raises(ValueError, match="2 chips"):
        make_result([0, 1], np.eye(3))


def test_interval_of_a_large_set_takes_seconds_at_most():
    """5000 vessels, the size of both archives together, at the full number of draws."""
    result = random_result(0, n=6000, n_vessels=5000)
    low, high = macro_f1_interval(result, BOOTSTRAP_DRAWS)
    assert 0.25 < low < high < 0.42
