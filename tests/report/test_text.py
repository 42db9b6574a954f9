"""Sections as text: aligned tables that stay tables whatever the cells hold."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.report.blocks import Bar, Bars, Note, Section, Table
from sarship.report.text import as_markdown

FRAME = pd.DataFrame(
    {
        "Model": ["CNN", "Fine_VGG"],
        "Seeds": [3, 1],
        "MacroF1": [71.204, -3.5],
        "Low": [65.0, np.nan],
        "High": [77.3, np.nan],
        "Same": [True, False],
        "p": ["0.0300", None],
    }
)


def test_sections_become_headings_notes_and_tables():
    blocks = [
        Note("Read on."),
        Note("Mind the gap.", warning=True),
        Table("Figures.", FRAME, intervals={"MacroF1": ("Low", "High")}),
    ]
    assert as_markdown([Section("Ranking", blocks)]) == (
        "## Ranking\n\nRead on.\n\nWarning: Mind the gap.\n\nFigures.\n\n"
        "| Model    | Seeds |              MacroF1 | Same | p      |\n"
        "| -------- | ----: | -------------------: | ---- | ------ |\n"
        "| CNN      |     3 | 71.20 [65.00, 77.30] | yes  | 0.0300 |\n"
        "| Fine_VGG |     1 |                −3.50 |      | –      |\n"
    )


def test_charts_are_left_out_and_so_are_sections_of_nothing_else():
    charts = Section("Charts", [Bars("Bars.", [Bar("CNN", 1.0)], "%")])
    assert as_markdown([charts, Section("Words", [Note("One.")])]) == "## Words\n\nOne.\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Bulk | Ore", r"Bulk \| Ore"),
        ("<b>", r"\<b>"),
        ("a\nb", "a b"),
        ("back\\|", r"back\\\|"),
        ("<0.0001", "<0.0001"),
    ],
)
def test_texts_are_not_taken_for_markdown(text, shown):
    lines = as_markdown([Section("T", [Table("C", pd.DataFrame({text: [text]}))])]).splitlines()
    assert [line.removeprefix("| ").removesuffix(" |").rstrip() for line in (lines[4], lines[6])] == [shown, shown]


@given(st.lists(st.tuples(st.text(), st.text(), st.floats()), min_size=1, max_size=5))
def test_any_cells_make_an_aligned_table(rows):
    frame = pd.DataFrame(rows, columns=["One", "Two", "Figure"])
    table = as_markdown([Section("T", [Table("C", frame)])]).split("\n\n", 2)[2].removesuffix("\n")
    lines = table.split("\n")
    assert len(lines) == len(rows) + 2 and len({len(line) for line in lines}) == 1
    for line in lines:
        assert line.replace("\\\\", "").replace("\\|", "").count("|") == 4
