"""Every figure that compare_scores.py shows comes again, by another route, from predictions.csv alone.

The tables are read back from what the command prints and from its page, and recomputed with pandas and scikit-learn.
"""

import io
import re
from contextlib import redirect_stdout
from html.parser import HTMLParser

import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

import compare_scores
from tests.small_scores import make_scores

RUN = ["Model", "Trained", "Variant", "Tested"]
CLASSES = ["Cargo", "Fishing", "Tanker"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Folder, printed sections by heading, and the figures of each run and test set from predictions.csv."""
    folder = tmp_path_factory.mktemp("study")
    make_scores(folder)
    with redirect_stdout(io.StringIO()) as text:
        compare_scores.main(["--out", str(folder), "--html", "report.html"])
    sections = {part.split("\n", 1)[0]: part for part in text.getvalue().split("## ")[1:]}
    runs = by_hand(pd.read_csv(folder / "predictions.csv", keep_default_na=False))
    return folder, sections, runs


def over_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.drop(columns="Seed").groupby(RUN).mean()


def by_hand(predictions: pd.DataFrame) -> pd.DataFrame:
    """Each figure of each run and test set in percent."""
    rows = []
    for key, group in predictions.groupby(["Model", "Trained", "Variant", "Tested", "Seed"]):
        answers = group[[f"p_{name}" for name in CLASSES]].astype(float).idxmax(axis=1).str.removeprefix("p_")
        figures = {
            "MacroF1": f1_score(group["label"], answers, labels=CLASSES, average="macro", zero_division=0),
            "Accuracy": (group["label"] == answers).mean(),
            "BalancedAccuracy": balanced_accuracy_score(group["label"], answers),
        }
        recalls = recall_score(group["label"], answers, labels=CLASSES, average=None, zero_division=0)
        figures |= {f"Recall {name}": value for name, value in zip(CLASSES, recalls, strict=True)}
        rows.append([*key, *(100 * value for value in figures.values())])
    return pd.DataFrame(rows, columns=[*RUN, "Seed", *figures])


def tables_of(section: str) -> list[pd.DataFrame]:
    tables = []
    for block in section.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if lines:
            head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            tables.append(pd.DataFrame(rows, columns=head))
    return tables


def first_number(cell: str) -> float:
    return float(re.match(r"[−+-]?[\d.]+", cell)[0].replace("−", "-"))


def test_ranking(compared):
    _, sections, runs = compared
    figures = over_seeds(runs)
    for tested in ("Fusar", "OpenSARShip", "Mixed"):
        table = tables_of(sections[f"Ranking: tested on {tested}"])[0]
        assert len(table) > 5
        for row in table.to_dict("records"):
            variant = "" if row["Protocol"] == "strict" else "published"
            expected = figures.loc[(row["Model"], row["Trained"], variant, tested)]
            for name in ("MacroF1", "Accuracy", "BalancedAccuracy", *(f"Recall {kind}" for kind in CLASSES)):
                assert first_number(row[name]) == pytest.approx(expected[name], abs=0.0051), (row, name)


def test_matrix(compared):
    _, sections, runs = compared
    figures = over_seeds(runs)
    for row in tables_of(sections["Trained on one set, tested on another"])[0].to_dict("records"):
        variant = "" if row["Protocol"] == "strict" else "published"
        for tested in ("Fusar", "OpenSARShip", "Mixed"):
            if row[tested] != "–":
                expected = figures.loc[(row["Model"], row["Trained"], variant, tested), "MacroF1"]
                assert first_number(row[tested]) == pytest.approx(expected, abs=0.0051)


def test_flaws(compared):
    """Seeds that only one side has are left out there, so that a mean may be over one seed or over all."""
    _, sections, runs = compared
    values = {*runs["MacroF1"].round(2), *over_seeds(runs)["MacroF1"].round(2)}
    summary, table = tables_of(sections["Published flaws, one at a time"])[:2]
    assert summary["Change"].value_counts().to_dict() == {"turned on from strict": 14, "mended from published": 3}
    for row in table.to_dict("records"):
        as_it_is, turned = first_number(row["As it is"]), first_number(row["Turned"])
        assert as_it_is in values and turned in values
        assert first_number(row["MacroF1 effect"]) == pytest.approx(turned - as_it_is, abs=0.0151)


def test_losses(compared):
    _, sections, runs = compared
    figures = over_seeds(runs)
    section = sections["Losses and samplers: tested on Fusar"]
    table, *of_classes = tables_of(section)
    names = re.findall(r"^(\w+), \d+ test chips", section, re.MULTILINE)
    assert len(table) == 5 and set(names) == set(CLASSES)
    for frame, name in ((table, "MacroF1"), *zip(of_classes, (f"Recall {kind}" for kind in names), strict=True)):
        for row in frame.to_dict("records"):
            loss = "" if row["Loss"] == "weighted_cross_entropy" else row["Loss"]
            sampler = "" if row["Sampler"] == "none" else f"{row['Sampler']}-sampler"
            variant = "_".join(part for part in (loss, sampler) if part)
            expected = figures.loc[(row["Model"], row["Trained"], variant, "Fusar"), name]
            assert first_number(row[name.split()[0]]) == pytest.approx(expected, abs=0.0051), row


class _Cells(HTMLParser):
    """Text of every table cell of a page."""

    def __init__(self):
        super().__init__()
        self.cells, self._open = [], False

    def handle_starttag(self, tag, attrs):
        if tag in ("td", "th"):
            self._open = True
            self.cells.append("")

    def handle_endtag(self, tag):
        self._open &= tag not in ("td", "th")

    def handle_data(self, data):
        if self._open:
            self.cells[-1] += data


def test_the_page_shows_the_figures_that_are_printed(compared):
    folder, sections, _ = compared
    parser = _Cells()
    parser.feed((folder / "report.html").read_text())
    shown = {" ".join(cell.split()) for cell in parser.cells}
    for heading in sections:
        for table in tables_of(sections[heading]):
            for cell in table.to_numpy().ravel():
                number = re.match(r"[−+]?\d+\.\d\d \[", cell)
                if number:
                    assert any(text.startswith(number[0]) for text in shown), (heading, cell)
