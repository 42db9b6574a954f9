"""What a model card says is what scores.csv, the manifest and the model file say."""

import re
from pathlib import Path

import pandas as pd
import pytest

import test_models
from sarship.prepared import read_dataset
from sarship.protocols import SWITCHES
from tests.small import CLASSES, COUNTS, make_prepared

TRAIN = ["--models", "CNN", "--epochs", "1", "--batch-size", "16", "--device", "cpu", "--no-figures", "--no-timing"]


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    made = make_prepared(tmp_path_factory.mktemp("study"), ("Fusar", "OpenSARShip"))
    words = ["--trained", "Fusar", "Fusar+OpenSARShip", "--protocol", "strict", "published"]
    test_models.main([*TRAIN, *words, "--out", str(made)])
    return made


def card(out: Path, stem: str) -> str:
    return (out / "trained_models" / f"{stem}.md").read_text()


def row_of(text: str, first: str) -> list[str]:
    """The cells of the first table row that begins so."""
    return [cell.strip() for cell in re.search(rf"^\| {re.escape(first)} +\|(.*)\|$", text, re.MULTILINE)[1].split("|")]


def test_scores_are_those_of_the_table(out):
    text = card(out, "CNN_Fusar")
    scores = pd.read_csv(out / "scores.csv", keep_default_na=False)
    scores = scores[(scores["Model"] == "CNN") & (scores["Trained"] == "Fusar") & (scores["Variant"] == "")]
    assert len(scores) == 2
    for _, row in scores.iterrows():
        chips, macro_f1, accuracy, _ = row_of(text, row["Tested"])
        assert chips == str(row["TestChips"])
        shown = [float(number) for number in re.findall(r"[\d.]+", macro_f1)]
        assert shown == pytest.approx([row["MacroF1"], row["MacroF1_low"], row["MacroF1_high"]], abs=0.006)
        assert float(accuracy) == pytest.approx(row["Accuracy"], abs=0.006)
        of_classes = text[text.index("F1 of each class") :]
        assert [float(cell) for cell in row_of(of_classes, row["Tested"])] == pytest.approx(
            [row[f"{name[0]}-F1"] for name in CLASSES], abs=0.006
        )


def test_the_chips_are_those_of_the_manifest(out):
    text = card(out, "CNN_Fusar")
    for name in CLASSES:
        assert row_of(text, name) == [str(COUNTS[split]) for split in ("train", "val", "test")]
    assert read_dataset(out, "Fusar").fingerprint()[:12] in text
    assert "FUSAR-Ship: building" in text and "OpenSARShip: a dataset" not in text


def test_a_chain_names_both_sets(out):
    text = card(out, "CNN_Fusar+OpenSARShip")
    assert "First on Fusar, then from there on OpenSARShip." in text
    assert "FUSAR-Ship: building" in text and "OpenSARShip: a dataset" in text


def test_flaws_are_said_first_and_explained(out):
    assert "None of the published code's flaws is switched on." in card(out, "CNN_Fusar")
    text = card(out, "CNN_Fusar_published")
    assert "not those of a sound protocol" in text
    for name, what in SWITCHES.items():
        assert row_of(text, name.replace("_", "-")) == [what]
    assert "The validation chips picked the epoch" not in text


def test_limits_come_from_the_figures(out):
    limits = card(out, "CNN_Fusar").partition("## Limits")[2]
    assert f"Few test chips in Fusar: {COUNTS['test']} of Cargo" in limits
    scores = pd.read_csv(out / "scores.csv", keep_default_na=False)
    row = scores[(scores["Model"] == "CNN") & (scores["Trained"] == "Fusar") & (scores["Variant"] == "")].iloc[0]
    width = row["MacroF1_high"] - row["MacroF1_low"]
    assert (f"known to within {width:.0f} points" in limits) == (width > 10)
    assert ("answers one class whatever" in limits) == bool(row["Collapsed"])


def test_baselines_have_none(out):
    assert (out / "trained_models" / "Majority_Fusar.pt").exists()
    assert not (out / "trained_models" / "Majority_Fusar.md").exists()


def test_the_same_run_has_the_same_card_and_says_what_it_can_do(out, tmp_path):
    other = make_prepared(tmp_path, ("Fusar", "OpenSARShip"))
    test_models.main([*TRAIN, "--trained", "Fusar", "--no-weights", "--out", str(other)])
    ours, theirs = card(out, "CNN_Fusar"), card(other, "CNN_Fusar")
    use = "Use: python predict.py trained\\_models" if "\\_" in ours else "Use: python predict.py trained_models"
    assert f"{use}/CNN" in ours
    assert "holds its answers and not its weights" in theirs
    assert [a for a, b in zip(ours.splitlines(), theirs.splitlines(), strict=True) if a != b] == [
        next(line for line in ours.splitlines() if line.startswith("Use:"))
    ]
