"""Geometry of the charts: lengths are proportional, everything lies within the plot."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarship.report import Bar, Bars, Curve, Curves
from sarship.report.charts import CURVE_BOX, DASHES, MARKS, draw_bars, draw_curves, nice_scale, percent, ticks_within

FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)
MAYBE = FINITE | st.none() | st.just(math.nan)


def at(length: str) -> float:
    assert length.endswith("%")
    return float(length[:-1])


@given(st.lists(MAYBE | st.floats(-1e38, 1e38), max_size=12))
def test_a_scale_holds_all_values_and_has_few_nice_ticks(values):
    scale = nice_scale(values)
    finite = [value for value in values if value is not None and math.isfinite(value)]
    slack = 1e-6 * (scale.ticks[-1] - scale.ticks[0])
    assert all(scale.ticks[0] - slack <= value <= scale.ticks[-1] + slack for value in finite)
    assert 2 <= len(scale.ticks) <= 9
    steps = [later - earlier for earlier, later in zip(scale.ticks, scale.ticks[1:], strict=False)]
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert f"{steps[0]:.2e}"[0] in "125"


def test_ticks_of_usual_figures():
    assert nice_scale([0, 77.3]).ticks == (0, 20, 40, 60, 80)
    assert nice_scale([-4.4, 11.9]).ticks == (-5, 0, 5, 10, 15)
    assert nice_scale([0.1, 0.32]).ticks == (0.1, 0.15, 0.2, 0.25, 0.3, 0.35)
    assert nice_scale([]).ticks == nice_scale([None]).ticks
    assert ticks_within([1, 2, 3]) == [1, 2, 3]
    assert ticks_within(list(range(1, 31))) == [5, 10, 15, 20, 25, 30]
    assert ticks_within([7]) == [7]


def bars_with_intervals(values: list[tuple[float, float, float]], references: list[float]) -> Bars:
    bars = [Bar(str(place), value, value - low, value + high) for place, (value, low, high) in enumerate(values)]
    return Bars("caption", bars, "%", {f"reference {place}": value for place, value in enumerate(references)})


bars_of_any_kind = st.builds(
    bars_with_intervals,
    st.lists(st.tuples(FINITE, st.floats(0, 1e3), st.floats(0, 1e3)), min_size=1, max_size=40),
    st.lists(FINITE, max_size=3),
)


@settings(max_examples=60)
@given(bars_of_any_kind)
def test_bars_are_as_long_as_their_values_and_start_at_zero(block):
    drawn = draw_bars(block)
    zero = at(drawn.zero)
    greatest = max(block.bars, key=lambda bar: abs(bar.value))
    per_unit = at(drawn.bars[block.bars.index(greatest)].width) / abs(greatest.value) if greatest.value else 0
    for bar, view in zip(block.bars, drawn.bars, strict=True):
        start, end = at(view.x), at(view.x) + at(view.width)
        assert at(view.width) == pytest.approx(per_unit * abs(bar.value), abs=0.003)
        assert (start if bar.value >= 0 else end) == pytest.approx(zero, abs=0.003)
        assert (end if bar.value >= 0 else start) == pytest.approx(at(view.at), abs=0.003)
        assert -0.001 <= at(view.low) <= at(view.at) + 0.003
        assert at(view.at) - 0.003 <= at(view.high) <= 100.001


@settings(max_examples=60)
@given(bars_of_any_kind)
def test_references_lie_within_the_plot_and_their_names_on_lines_of_their_own(block):
    drawn = draw_bars(block)
    assert {" ".join(reference.lines).rsplit(" ", 1)[0] for reference in drawn.references} == set(block.references)
    assert all(-0.001 <= at(reference.at) <= 100.001 for reference in drawn.references)
    lines = [reference.row + line for reference in drawn.references for line in range(len(reference.lines))]
    assert lines == list(range(drawn.name_rows))


def test_bars_without_value_or_interval():
    bars = [Bar("a", 50.0), Bar("b", math.nan, 1, 2), Bar("c", 40.0, None, 50.0), Bar("d", math.inf)]
    drawn = draw_bars(Bars("caption", bars, "%", {"nowhere": math.nan}))
    assert [bar.text for bar in drawn.bars] == ["50.0", "–", "40.0", "–"]
    assert [bar.width is None for bar in drawn.bars] == [False, True, False, True]
    assert all(bar.low is None and bar.interval == "" for bar in drawn.bars)
    assert not drawn.has_intervals
    assert drawn.references == []
    assert draw_bars(Bars("none at all", [], "%")).bars == []


def test_differences_bear_signs_and_decimals_are_as_asked_for():
    block = Bars("caption", [Bar("a", 1.234, 0.5, 2), Bar("b", -1.234, -2, -0.5)], "points", decimals=2)
    drawn = draw_bars(block)
    assert [(bar.text, bar.interval) for bar in drawn.bars] == [
        ("+1.23", "[+0.50, +2.00]"),
        ("−1.23", "[−2.00, −0.50]"),
    ]
    assert {tick.text for tick in drawn.ticks} >= {"0", "+1", "−1"}


def test_bars_of_one_group_share_a_mark_and_groups_differ():
    bars = [Bar(str(place), place, group="ab"[place % 2]) for place in range(6)]
    drawn = draw_bars(Bars("caption", bars, ""))
    assert [bar.mark for bar in drawn.bars] == [0, 1] * 3
    assert drawn.groups == [(0, "a"), (1, "b")]
    assert draw_bars(Bars("caption", bars[::2], "")).groups == []


def points_of(path: str) -> list[list[tuple[float, float]]]:
    return [[tuple(map(float, point.split(","))) for point in piece.split()] for piece in path.split("M")[1:]]


@settings(max_examples=60)
@given(st.lists(st.lists(MAYBE, min_size=1, max_size=20), max_size=12))
def test_curves_stay_in_their_box_and_lose_no_point(columns):
    curves = [Curve(str(place), range(len(ys)), ys, 0) for place, ys in enumerate(columns)]
    drawn = draw_curves(Curves("caption", curves, "x", "y"))
    for curve, view in zip(curves, drawn.curves, strict=True):
        there = [y for y in curve.y if y is not None and math.isfinite(y)]
        placed = [point for piece in points_of(view.path) for point in piece]
        assert len(placed) + len(view.dots) == len(there)
        assert all(-0.1 <= length <= CURVE_BOX + 0.1 for point in placed for length in point)
        first = curve.y[0]
        assert (view.marked is not None) == (first is not None and math.isfinite(first))
    assert len({(view.mark, view.dash) for view in drawn.curves}) == len(columns)


def test_a_gap_parts_a_curve_and_a_lone_point_is_a_dot():
    curve = Curve("a", [1, 2, 3, 4, 5, 6], [10.0, 20.0, None, 30.0, math.nan, 40.0], 5)
    view = draw_curves(Curves("caption", [curve], "x", "y")).curves[0]
    assert [len(piece) for piece in points_of(view.path)] == [2]
    assert len(view.dots) == 2
    assert view.marked is None  # there is no value at the marked x


def test_greater_values_lie_higher_and_the_marked_point_on_its_curve():
    drawn = draw_curves(Curves("caption", [Curve("a", [0, 5, 10], [0.0, 50.0, 100.0], 5)], "x", "y"))
    assert points_of(drawn.curves[0].path) == [[(0, 1000), (500, 500), (1000, 0)]]
    assert drawn.curves[0].marked == ("50%", "50%")
    assert [(tick.at, tick.text) for tick in drawn.y_ticks] == [
        ("100%", "0"), ("80%", "20"), ("60%", "40"), ("40%", "60"), ("20%", "80"), ("0%", "100"),
    ]  # fmt: skip


def test_the_axis_starts_at_zero_only_where_values_come_near_it():
    far, near = ([Curve("a", [0, 1], ys)] for ys in ([0.9, 1.0], [0.1, 1.0]))
    assert [draw_curves(Curves("", curves, "", "")).y_ticks[0].text for curves in (far, near)] == ["0.90", "0.0"]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0, 0.6], ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]),
        ([71.201, 71.206], ["71.201", "71.202", "71.203", "71.204", "71.205", "71.206"]),
        ([0, 5e6], ["0", "1e+06", "2e+06", "3e+06", "4e+06", "5e+06"]),
        ([-2, 2], ["−2", "−1", "0", "1", "2"]),
        ([0.7, 0.7], ["0.60", "0.65", "0.70", "0.75", "0.80"]),
    ],
)
def test_ticks_are_written_alike_and_no_two_the_same(values, texts):
    ticks = draw_curves(Curves("", [Curve("a", [0, 1], values)], "", "")).y_ticks
    assert [tick.text for tick in ticks] == texts


def test_twelve_curves_have_twelve_dashes():
    curves = [Curve(str(place), [0, 1], [0, 1]) for place in range(12)]
    drawn = draw_curves(Curves("caption", curves, "x", "y"))
    assert len({view.dash for view in drawn.curves}) == 12 == DASHES
    assert len({view.mark for view in drawn.curves}) == MARKS


def test_descriptions_say_what_is_seen():
    curve = Curve("CNN", [1, 2, 3], [20.0, 71.25, 60.0], 2)
    assert draw_curves(Curves("", [curve, Curve("VGG", [], [])], "", "")).description == (
        "CNN: from 20 at 1 to 60 at 3, between 20 and 71.25; marked at 2: 71.25. VGG: no values."
    )
    bars = Bars("", [Bar("a", 50)], "%", {"Majority": 26.66})
    assert draw_bars(bars).description == "Bars: 1, on a scale from 0 to 50 %. Reference Majority: 26.7."


@given(st.floats(-10, 110))
def test_lengths_are_written_plainly(place):
    assert re.fullmatch(r"-?\d+(\.\d{1,3})?%", percent(place))
    assert at(percent(place)) == pytest.approx(place, abs=0.0006)
