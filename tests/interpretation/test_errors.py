"""Errors counted by hand, with intervals, and nothing said where the chips say nothing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sarship.command import UserError
from sarship.interpretation.error_figures import draw_errors, draw_mistakes, summary
from sarship.interpretation.errors import (
    answer_table,
    calibration,
    calibration_table,
    length_table,
    mistake_table,
    pair_table,
    size_bias,
    tables_of,
    training_chips,
)
from sarship.interpretation.neighbours import wilson
from sarship.prepared import read_dataset
from sarship.scores import SetResult
from tests.small import make_prepared

CLASSES = ("Cargo", "Fishing", "Tanker")
LABELS = np.array([0] * 10 + [1] * 4 + [2] * 6)
ANSWERS = np.array([0] * 8 + [2] * 2 + [0] * 3 + [1] + [2] * 4 + [0] * 2)
LENGTHS = np.array([120.0] * 5 + [260] * 5 + [20, 30, np.nan, 49.9] + [250] * 3 + [310] * 3)


def result(labels=LABELS, answers=ANSWERS, confidence=0.8, classes=CLASSES) -> SetResult:
    """Answers of one confidence, or of one for each chip; what is left is shared by the other classes."""
    confidence = np.broadcast_to(confidence, len(labels))[:, None]
    is_answer = np.arange(len(classes)) == answers[:, None]
    probabilities = np.where(is_answer, confidence, (1 - confidence) / (len(classes) - 1))
    chips = [f"chip{number}" for number in range(len(labels))]
    vessels = [f"v{number // 2}" if number < 10 else "" for number in range(len(labels))]
    return SetResult("Fusar", "Mixed", "CNN", 1, classes, chips, vessels, labels, probabilities)


def manifest_rows(of: SetResult, lengths=None, datasets=("Fusar", "OpenSARShip")) -> pd.DataFrame:
    names = np.array(of.classes, dtype=object)[of.labels]
    count = len(of.labels)
    return pd.DataFrame(
        {
            "chip": of.chips,
            "dataset": [datasets[number % len(datasets)] for number in range(count)],
            "class": names,
            "vessel": of.vessels,
            "length_m": np.full(count, np.nan) if lengths is None else lengths,
        }
    )


@pytest.fixture
def tables():
    return tables_of(result(), manifest_rows(result(), LENGTHS), {"Cargo": 50, "Tanker": 20})


def test_classes_from_the_hardest_on(tables):
    rows = tables.classes.set_index("class")
    assert list(rows.index) == ["Fishing", "Tanker", "Cargo"]
    assert rows["right"].tolist() == [1, 4, 8] and rows["chips"].tolist() == [4, 6, 10]
    assert rows["recall"].tolist() == pytest.approx([1 / 4, 4 / 6, 8 / 10])
    assert rows["taken_for"].tolist() == ["Cargo", "Cargo", "Tanker"]
    assert rows["train_chips"].tolist() == [0, 20, 50]
    assert rows["vessels"].tolist() == [4, 6, 5]  # chips of unknown vessel are a vessel each
    for _, row in rows.iterrows():
        assert (row["low"], row["high"]) == wilson(row["right"], row["chips"])


def test_a_class_without_test_chips_stands_last():
    of = result(LABELS[:14], ANSWERS[:14])
    classes = tables_of(of, manifest_rows(of), {}).classes
    assert classes["class"].tolist()[-1] == "Tanker" and np.isnan(classes["recall"].iloc[-1])


def test_confusions_from_the_surest_on():
    """30 of 100 is surer than 1 of 2, though it is a smaller share."""
    labels = np.array([0] * 100 + [1] * 2)
    answers = np.array([2] * 30 + [0] * 70 + [2, 1])
    of = result(labels, answers)
    pairs = pair_table(answer_table(of, manifest_rows(of)))
    assert pairs[["class", "predicted"]].to_numpy().tolist() == [["Cargo", "Tanker"], ["Fishing", "Tanker"]]
    assert pairs["chips"].tolist() == [30, 1] and pairs["of_chips"].tolist() == [100, 2]


def test_mistakes_from_the_most_confident_on():
    confidence = np.linspace(0.5, 0.9, 20)
    of = result(confidence=confidence)
    wrong = mistake_table(answer_table(of, manifest_rows(of)))
    assert wrong.index.tolist() == [19, 18, 12, 11, 10, 9, 8]
    assert wrong["confidence"].tolist() == pytest.approx(confidence[wrong.index].tolist())
    assert wrong.loc[19, ["class", "predicted"]].tolist() == ["Tanker", "Cargo"]
    assert wrong["of_class"].tolist() == pytest.approx(((1 - confidence[wrong.index]) / 2).tolist())


def test_lengths_in_bins_with_their_counts(tables):
    lengths = tables.lengths
    together = lengths[lengths["class"] == "all"]
    assert together[["from_m", "to_m", "chips"]].to_numpy().tolist() == [
        [0, 25, 1],
        [25, 50, 2],
        [100, 150, 5],
        [200, 300, 8],
        [300, np.inf, 3],
    ]
    assert together["chips"].sum() == 19  # one length is not known
    cargo = lengths[lengths["class"] == "Cargo"]
    assert cargo["right"].tolist() == [5, 3] and cargo["recall"].tolist() == [1, 0.6]


def test_without_lengths_there_is_no_table_of_them():
    assert length_table(answer_table(result(), manifest_rows(result()))).empty


def test_data_sets_are_counted_apart(tables):
    assert tables.datasets["dataset"].tolist() == ["Fusar", "OpenSARShip"]
    assert tables.datasets["right"].sum() == (LABELS == ANSWERS).sum()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200))
def test_the_curve_adds_up_to_the_error_of_scores_csv(seed, count):
    generator = np.random.default_rng(seed)
    labels, answers = generator.integers(0, 3, (2, count))
    of = result(labels, answers, generator.uniform(0.34, 1, count))
    curve = calibration_table(answer_table(of, manifest_rows(of)))
    assert curve["chips"].sum() == count
    distance = (curve["chips"] * (curve["accuracy"] - curve["confidence"]).abs()).sum() / count
    assert distance == pytest.approx(calibration(of).ece, abs=1e-9)
    assert (curve["above"] < curve["confidence"]).all() and (curve["confidence"] <= curve["up_to"] + 1e-12).all()


def test_a_confidence_on_an_edge_is_in_the_bin_below_it(tables):
    """All answers are 80 % sure, which is the upper edge of the twelfth bin of fifteen."""
    assert tables.reliability[["above", "up_to", "chips"]].to_numpy().tolist() == [[11 / 15, 12 / 15, 20]]


def test_calibrated_answers_stay_within_chance_and_overconfident_ones_do_not():
    generator, within = np.random.default_rng(1), 0
    for _ in range(40):
        confidence = generator.uniform(0.4, 1, 150)
        right = generator.random(150) < confidence
        labels = generator.integers(0, 3, 150)
        found = calibration(result(labels, np.where(right, labels, (labels + 1) % 3), confidence))
        within += found.ece <= found.at_most
    assert within >= 35  # 39 of 40 are to be expected
    labels = generator.integers(0, 3, 150)
    overconfident = calibration(result(labels, np.where(right, labels, (labels + 1) % 3), np.full(150, 0.99)))
    assert overconfident.ece > overconfident.at_most > overconfident.by_chance


def of_sizes(train: list[int], recall: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"class": range(len(train)), "chips": 10, "train_chips": train, "recall": recall})


def test_class_size_and_recall_are_ranked():
    assert size_bias(of_sizes([10, 20, 30, 40, 50], [0.1, 0.3, 0.2, 0.4, 0.6])).rho == pytest.approx(0.9)
    found = size_bias(of_sizes(list(range(10, 40)), list(np.linspace(0.9, 0.2, 30) + 0.3 * (np.arange(30) % 2))))
    assert found.low < found.rho < found.high < 0 and found.p < 0.01
    perfect = size_bias(of_sizes([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]))
    assert perfect.rho == pytest.approx(1) and np.isnan(perfect.low)


@pytest.mark.parametrize(
    ("train", "recall"),
    [([1, 2, 3], [0.1, 0.2, 0.3]), ([5, 5, 5, 5], [0.1, 0.2, 0.3, 0.4]), ([1, 2, 3, 4], [0.5, 0.5, 0.5, 0.5])],
)
def test_nothing_is_said_of_class_sizes_that_say_nothing(train, recall):
    assert size_bias(of_sizes(train, recall)) is None


def test_predictions_of_other_chips_are_refused():
    rows = manifest_rows(result())
    with pytest.raises(UserError, match=r"CNN trained on Fusar answered other chips than prepared/Mixed"):
        answer_table(result(), rows.iloc[::-1])


def test_chips_that_were_left_out_of_training_are_not_counted(tmp_path):
    prepared = read_dataset(make_prepared(tmp_path, ("Fusar",)), "Fusar")
    classes = list(CLASSES)
    assert training_chips({}, prepared, 1) == dict.fromkeys(classes, 20)
    limited = {"classes": classes, "imbalance": 4.0}
    assert training_chips(limited, prepared, 1) == {"Cargo": 20, "Fishing": 10, "Tanker": 5}
    assert training_chips({"classes": classes, "train_chips": 3}, prepared, 1) == dict.fromkeys(classes, 3)


@pytest.mark.parametrize("many", [False, True])
def test_figure_and_sheet_are_written(tmp_path, tables, many):
    if many:
        classes = tuple(f"Land use of kind {number}" for number in range(45))
        generator = np.random.default_rng(0)
        labels = np.sort(generator.integers(0, 45, 900))
        answers = np.where(generator.random(900) < 0.6, labels, generator.integers(0, 45, 900))
        of = result(labels, answers, 0.6, classes)
        train = {name: 10 + number for number, name in enumerate(classes)}
        tables = tables_of(of, manifest_rows(of, datasets=("NWPU",)), train)
    draw_errors(tables, tmp_path / "errors.png", "CNN_Fusar tested on Mixed")
    pixels = np.random.default_rng(0).integers(0, 255, (900, 32, 32)).astype(np.uint8)
    draw_mistakes(tables.mistakes.head(20), pixels, tmp_path / "mistakes.png", "title")
    for name in ("errors.png", "mistakes.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 200


def test_the_summary_names_the_hardest_class_with_its_interval(tables):
    lines = summary(tables).splitlines()
    assert lines[0] == "  hardest class Fishing: recall 25 % [5, 70], 1 of 4 chips"
    assert lines[1].startswith("  surest confusion Fishing → Cargo: 75 %")
    assert lines[3].startswith("  class sizes: too few classes")
    of = result(LABELS[:10], ANSWERS[:10])
    assert summary(tables_of(of, manifest_rows(of), {})).splitlines()[0].endswith("8 of 10 chips (5 vessels)")
