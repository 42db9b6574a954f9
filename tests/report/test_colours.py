"""The scale of heat maps: every level can be read, in both modes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarship.report.colours import (
    BLACK,
    DARK_STOPS,
    LEVELS,
    LIGHT_STOPS,
    WHITE,
    contrast,
    heat_colours,
    heat_level,
    heat_rules,
)

RULE = re.compile(r"\.h(\d+) \{ background: (#[0-9A-F]{6}); color: (#[0-9A-F]{6}); \}")


def test_contrast_is_that_of_the_definition():
    assert contrast(BLACK, WHITE) == pytest.approx(21)
    assert contrast("#777777", WHITE) == pytest.approx(4.48, abs=0.005)  # the known grey that just fails


def test_the_text_on_every_level_can_be_read():
    rules = RULE.findall(heat_rules())
    assert [int(level) for level, _, _ in rules] == 2 * list(range(LEVELS))
    assert min(contrast(background, text) for _, background, text in rules) >= 4.5


@pytest.mark.parametrize("stops", [LIGHT_STOPS, DARK_STOPS])
def test_levels_go_one_way_from_the_first_stop_to_the_last(stops):
    colours = heat_colours(stops)
    assert (colours[0], colours[-1]) == (stops[0], stops[-1])
    against_white = [contrast(colour, WHITE) for colour in colours]
    assert against_white in (sorted(against_white), sorted(against_white, reverse=True))


def test_steps_are_those_of_the_eye():
    """Lightness is evenly spaced, so no two neighbours are much closer than two others."""
    in_pairs = [
        contrast(one, other)
        for one, other in zip(heat_colours(LIGHT_STOPS), heat_colours(LIGHT_STOPS)[1:], strict=False)
    ]
    assert min(in_pairs) > 1.04


@given(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3), st.floats(0, 1e3))
def test_a_level_is_always_on_the_scale(value, lowest, width):
    assert 0 <= heat_level(value, lowest, lowest + width) < LEVELS


def test_levels_of_the_ends_and_the_middle():
    assert [heat_level(value, 20, 80) for value in (0, 20, 50, 80, 99)] == [0, 0, 10, 20, 20]
    assert heat_level(5, 5, 5) == LEVELS // 2
