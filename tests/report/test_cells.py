"""Tables, heat maps and confusions as cells."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.report import Confusion, HeatMap, Table
from sarship.report.cells import colour_confusion, colour_heat_map, lay_out_table, split_name

FRAME = pd.DataFrame(
    {
        "Model": ["CNN", "VGG", None],
        "F1": [71.204, np.nan, -3.0],
        "Low": [65.1, 1.0, -4.0],
        "High": [77.304, 2.0, None],
        "Seed": [1, 2, 3],
        "Collapsed": [True, False, True],
        "Mixed": [1.5, "two", None],
    },
    index=[10, 20, 30],
)


def shown(table: Table) -> list[list[str]]:
    return [[f"{cell.text} {cell.detail}".strip() for cell in row.cells] for row in lay_out_table(table).rows]


def test_a_table_shows_numbers_intervals_dashes_and_truth():
    table = Table("caption", FRAME, intervals={"F1": ("Low", "High")}, marked={20: "collapsed"})
    assert shown(table) == [
        ["CNN", "71.20 [65.10, 77.30]", "1", "yes", "1.50"],
        ["VGG", "–", "2", "", "two"],
        ["–", "−3.00", "3", "yes", "–"],
    ]
    view = lay_out_table(table)
    assert [(column.head, column.is_number) for column in view.columns] == [
        ("Model", False),
        ("F1", True),
        ("Seed", True),
        ("Collapsed", False),
        ("Mixed", False),
    ]
    assert [row.reason for row in view.rows] == ["", "collapsed", ""]


def test_cells_are_sorted_by_all_their_digits():
    frame = pd.DataFrame({"F1": [0.1 + 0.2, None], "Count": [3, 4]})
    rows = lay_out_table(Table("caption", frame)).rows
    assert [[cell.value for cell in row.cells] for row in rows] == [["0.30000000000000004", "3"], ["", "4"]]


def test_an_interval_column_that_the_frame_lacks_is_an_error():
    with pytest.raises(KeyError, match="lowest"):
        lay_out_table(Table("caption", FRAME, intervals={"F1": ("lowest", "High")}))


def test_a_table_without_rows_and_one_without_columns():
    assert lay_out_table(Table("caption", FRAME.iloc[:0])).rows == []
    assert lay_out_table(Table("caption", pd.DataFrame())).columns == []


def test_wider_tables_are_set_smaller_on_paper():
    steps = [
        lay_out_table(Table("caption", pd.DataFrame([[71.2] * n], columns=[f"score {i}" for i in range(n)]))).paper
        for n in (3, 10, 14, 18, 40)
    ]
    assert steps == [0, 1, 2, 3, 4]


@given(st.text(max_size=40))
def test_a_name_is_split_without_loss(name):
    assert "".join(split_name(name)) == name


def test_names_are_split_where_a_line_may_end():
    assert split_name("Fine_ResNet_Fusar+Mixed") == ["Fine_", "Res", "Net_", "Fusar+", "Mixed"]
    assert split_name("0.001") == ["0.001"]


def test_a_heat_map_colours_by_value_and_leaves_what_is_missing_plain():
    frame = pd.DataFrame([[20.0, 80.0], [np.nan, 50.0]], index=["a", "b"], columns=["x", "y"])
    details = pd.DataFrame([["[1, 2]", None], ["[3, 4]", ""]])
    view = colour_heat_map(HeatMap("caption", frame, "Trained", "Tested", 20, 80, details))
    assert view.columns == ["x", "y"]
    assert [[(cell.text, cell.detail, cell.level) for cell in row.cells] for row in view.rows] == [
        [("20.0", "[1, 2]", 0), ("80.0", "", 20)],
        [("–", "", None), ("50.0", "", 10)],
    ]


def test_a_confusion_shows_counts_and_shares_of_the_row():
    view = colour_confusion(Confusion("caption", ["a", "b", "c"], [[3, 1, 0], [0, 0, 0], [0.5, 0, 1.5]]))
    assert [(row.head, row.detail) for row in view.rows] == [("a", "n = 4"), ("b", "n = 0"), ("c", "n = 2")]
    cells = [[(cell.text, cell.detail, cell.level) for cell in row.cells] for row in view.rows]
    assert cells[0] == [("3", "75.0 %", 15), ("1", "25.0 %", 5), ("0", "0.0 %", 0)]
    assert cells[1] == [("0", "", None)] * 3
    assert cells[2] == [("0.5", "25.0 %", 5), ("0", "0.0 %", 0), ("1.5", "75.0 %", 15)]
    assert all(cell.correct == (row == col) for row in range(3) for col, cell in enumerate(view.rows[row].cells))
