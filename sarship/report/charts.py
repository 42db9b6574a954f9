"""Geometry of the charts. Lengths are percent of the plot's width (and height), so that one SVG fits every screen.

Text keeps its size however wide the screen is: only what is given in percent stretches.
"""

import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sarship.report.blocks import Bar, Bars, Curve, Curves
from sarship.report.values import is_missing, number, short_number

MARKS = 8  # colours and shapes of page.css and page.html.jinja; then they come again
DASHES = 12  # dash patterns of page.css
TICKS = 7  # about: seven short labels fit side by side on a phone
NAME_LETTERS = 24  # of a reference's name on a line: half the plot on a phone of 360 px
CURVE_BOX = 1000  # units a side of the box that curves are drawn in


@dataclass(frozen=True)
class Scale:
    """An axis from the first to the last tick."""

    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Place of a value in percent of the axis."""
        first, last = self.ticks[0], self.ticks[-1]
        return 100 * (value - first) / (last - first)


def nice_scale(values: Iterable[float | None], whole: bool = False) -> Scale:
    """A scale that holds all values, with ticks at 1, 2 or 5 times a power of ten. whole: ticks at whole numbers only.

    Without a value it goes from 0 to 1. Source: Heckbert, Nice numbers for graph labels, Graphics Gems, 1990.
    """
    finite = [float(value) for value in values if not is_missing(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    if math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-300):  # no room for ticks that could be told apart
        low, high = (low - 0.1 * abs(low), high + 0.1 * abs(high)) if abs(low) > 1e-300 else (0.0, 1.0)
    rough = high / (TICKS - 1) - low / (TICKS - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, 2 - math.floor(math.log10(step)))  # without the dust of binary fractions: 0.3, not 0.30000000004
    return Scale(tuple(round(place * step, decimals) for place in range(first, last + 1)))


def percent(place: float) -> str:
    """A length for an SVG attribute, to a thousandth."""
    return f"{place:z.3f}".rstrip("0").rstrip(".") + "%"


@dataclass(frozen=True)
class Tick:
    """A grid line: where, what is written at it, and on which side of it: start, middle or end."""

    at: str
    text: str
    anchor: str = "middle"


def _ticks(values: Sequence[float], scale: Scale, signed: bool = False) -> list[Tick]:
    ticks = []
    for value, text in _written(values):
        place = scale.at(value)
        long = len(text) > 5  # half of it would hang over the edge of a phone's screen
        anchor = "start" if long and place < 1 else "end" if long and place > 99 else "middle"
        ticks.append(Tick(percent(place), f"+{text}" if signed and value > 0 else text, anchor))
    return ticks


def _written(values: Sequence[float]) -> Iterator[tuple[float, str]]:
    """Each value with its text: all have as many decimals as the one that needs most, or powers of ten if too many."""
    decimals = next((few for few in range(6) if all(round(value, few) == value for value in values)), None)
    plain = decimals is not None and all(abs(value) < 1e6 for value in values)
    for value in values:
        yield value, number(value, decimals) if plain else short_number(value)


@dataclass(frozen=True)
class BarView:
    """A bar from x on; at: its value's end; low, high: ends of the whisker. None: not drawn."""

    label: str
    group: str
    mark: int
    text: str
    interval: str
    x: str | None
    width: str | None
    at: str | None
    low: str | None
    high: str | None


@dataclass(frozen=True)
class Reference:
    """A vertical line with its name in `lines`, the first of them on line `row` above the plot.

    anchor: start where the name grows to the right, end where it grows to the left.
    """

    at: str
    lines: Sequence[str]
    anchor: str
    row: int


@dataclass(frozen=True)
class BarsView:
    ticks: Sequence[Tick]
    zero: str
    bars: Sequence[BarView]
    references: Sequence[Reference]
    name_rows: int
    groups: Sequence[tuple[int, str]]
    has_intervals: bool
    description: str


def draw_bars(block: Bars) -> BarsView:
    """Bars on a common scale that holds zero, every interval and every reference."""
    ends = [end for bar in block.bars for end in (bar.value, bar.low, bar.high)]
    scale = nice_scale([0.0, *ends, *block.references.values()])
    groups = list(dict.fromkeys(bar.group for bar in block.bars))
    references = _draw_references(block, scale)
    signed = any(not is_missing(bar.value) and bar.value < 0 for bar in block.bars)
    return BarsView(
        ticks=_ticks(scale.ticks, scale, signed),
        zero=percent(scale.at(0.0)),
        bars=[_draw_bar(bar, scale, groups.index(bar.group) % MARKS, block.decimals, signed) for bar in block.bars],
        references=references,
        name_rows=sum(len(reference.lines) for reference in references),
        groups=[(index % MARKS, group) for index, group in enumerate(groups)] if len(groups) > 1 else [],
        has_intervals=any(_has_interval(bar) for bar in block.bars),
        description=_describe_bars(block, scale),
    )


def _has_interval(bar: Bar) -> bool:
    return not (is_missing(bar.value) or is_missing(bar.low) or is_missing(bar.high))


def _draw_bar(bar: Bar, scale: Scale, mark: int, decimals: int, signed: bool) -> BarView:
    text = number(bar.value, decimals, signed)
    if is_missing(bar.value):
        return BarView(bar.label, bar.group, mark, text, "", None, None, None, None, None)
    zero, at = scale.at(0.0), scale.at(bar.value)
    drawn = [percent(place) for place in (min(zero, at), abs(at - zero), at)]
    if not _has_interval(bar):
        return BarView(bar.label, bar.group, mark, text, "", *drawn, None, None)
    interval = f"[{number(bar.low, decimals, signed)}, {number(bar.high, decimals, signed)}]"
    whisker = [percent(scale.at(end)) for end in (bar.low, bar.high)]
    return BarView(bar.label, bar.group, mark, text, interval, *drawn, *whisker)


def _draw_references(block: Bars, scale: Scale) -> list[Reference]:
    """Names stand one below the other, those nearest the middle lowest: so few lines cross a name on their way down."""
    known = {name: value for name, value in block.references.items() if not is_missing(value)}
    drawn, row = [], 0
    for name, value in sorted(known.items(), key=lambda item: -abs(scale.at(item[1]) - 50)):
        place = scale.at(value)
        lines = textwrap.wrap(f"{name} {number(value, block.decimals)}", NAME_LETTERS)
        drawn.append(Reference(percent(place), lines, "start" if place <= 50 else "end", row))
        row += len(lines)
    return drawn


def _describe_bars(block: Bars, scale: Scale) -> str:
    first, last = short_number(scale.ticks[0]), short_number(scale.ticks[-1])
    lines = [f"Bars: {len(block.bars)}, on a scale from {first} to {last} {block.unit}".rstrip() + "."]
    lines += [f"Reference {name}: {number(value, block.decimals)}." for name, value in block.references.items()]
    return " ".join(lines)


@dataclass(frozen=True)
class CurveView:
    """path: in the box of CURVE_BOX units a side; dots: points without a neighbour; marked: the point set off."""

    label: str
    mark: int
    dash: int
    path: str
    dots: Sequence[tuple[str, str]]
    marked: tuple[str, str] | None


@dataclass(frozen=True)
class CurvesView:
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    curves: Sequence[CurveView]
    box: int
    description: str


def draw_curves(block: Curves) -> CurvesView:
    """Curves on common axes; y grows upwards, and starts at zero where the values come near it."""
    xs = [x for curve in block.curves for x in curve.x if not is_missing(x)]
    ys = [y for curve in block.curves for y in curve.y if not is_missing(y)]
    x_scale = _tight_scale(xs)
    near_zero = bool(ys) and min(ys) >= 0 and min(ys) < max(ys) / 3  # little would be won by leaving zero out
    y_scale = nice_scale([*ys, 0.0] if near_zero else ys)
    return CurvesView(
        x_ticks=_ticks(ticks_within(xs), x_scale),
        y_ticks=[Tick(percent(100 - y_scale.at(y)), text, "end") for y, text in _written(y_scale.ticks)],
        curves=[_draw_curve(curve, index, x_scale, y_scale) for index, curve in enumerate(block.curves)],
        box=CURVE_BOX,
        description=" ".join(_describe_curve(curve) for curve in block.curves),
    )


def ticks_within(xs: Sequence[float]) -> list[float]:
    """Nice ticks between the least and the greatest x; whole numbers where every x is one."""
    whole = all(float(x).is_integer() for x in xs)
    if len(set(xs)) == 1:
        return [xs[0]]
    return [tick for tick in nice_scale(xs, whole).ticks if not xs or min(xs) <= tick <= max(xs)]


def _tight_scale(xs: Sequence[float]) -> Scale:
    """From the least to the greatest x: curves use the whole width."""
    return Scale((min(xs), max(xs))) if len(set(xs)) > 1 else nice_scale(xs)


def _draw_curve(curve: Curve, index: int, x_scale: Scale, y_scale: Scale) -> CurveView:
    pieces = _pieces(curve)
    marked = next((point for piece in pieces for point in piece if point[0] == curve.marked_x), None)
    return CurveView(
        label=curve.label,
        mark=index % MARKS,
        dash=index % DASHES,
        path=" ".join(_path(piece, x_scale, y_scale) for piece in pieces if len(piece) > 1),
        dots=[_place(piece[0], x_scale, y_scale) for piece in pieces if len(piece) == 1],
        marked=None if marked is None else _place(marked, x_scale, y_scale),
    )


def _pieces(curve: Curve) -> list[list[tuple[float, float]]]:
    """The curve without its gaps: runs of neighbouring points."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(curve.x, curve.y, strict=True):
        if is_missing(x) or is_missing(y):
            pieces.append([])
        else:
            pieces[-1].append((x, y))
    return [piece for piece in pieces if piece]


def _path(piece: Sequence[tuple[float, float]], x_scale: Scale, y_scale: Scale) -> str:
    unit = CURVE_BOX / 100
    return "M" + " ".join(f"{unit * x_scale.at(x):.1f},{unit * (100 - y_scale.at(y)):.1f}" for x, y in piece)


def _place(point: tuple[float, float], x_scale: Scale, y_scale: Scale) -> tuple[str, str]:
    return percent(x_scale.at(point[0])), percent(100 - y_scale.at(point[1]))


def _describe_curve(curve: Curve) -> str:
    points = [point for piece in _pieces(curve) for point in piece]
    if not points:
        return f"{curve.label}: no values."
    (first_x, first), (last_x, last) = points[0], points[-1]
    low, high = min(y for _, y in points), max(y for _, y in points)
    text = f"{curve.label}: from {short_number(first)} at {short_number(first_x)}"
    text += f" to {short_number(last)} at {short_number(last_x)}, between {short_number(low)} and {short_number(high)}"
    marked = next((y for x, y in points if x == curve.marked_x), None)
    return text + ("." if marked is None else f"; marked at {short_number(curve.marked_x)}: {short_number(marked)}.")
