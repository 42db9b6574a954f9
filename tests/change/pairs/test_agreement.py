"""Counts and scores against scikit-learn and against sums done by hand."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score

from sarship.change.pairs.agreement import Agreement, agreement

PIXELS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=80)


@given(PIXELS)
def test_scores_are_those_of_scikit_learn_on_the_valid_pixels(pixels):
    found, true, valid = (np.array(each)[None] for each in zip(*pixels, strict=True))
    ours, theirs = found[valid], true[valid]
    assume((ours | theirs).any() and not (ours & theirs).all())
    counts = agreement(found, true, valid)
    assert counts.kappa == pytest.approx(cohen_kappa_score(theirs, ours))
    assert counts.row()["f1"] == pytest.approx(f1_score(theirs, ours), abs=1e-4)
    assert counts.pixels == valid.sum()


def test_percentages_by_hand():
    row = Agreement(hits=30, rejections=60, false_alarms=4, missed_alarms=6).row()
    assert (row["false_alarms"], row["missed_alarms"], row["overall_errors"]) == (4, 6, 10)
    assert row["false_alarm_percent"] == 6.25  # of 64 unchanged
    assert row["missed_alarm_percent"] == 16.67  # of 36 changed
    assert (row["overall_error_percent"], row["pcc_percent"]) == (10.0, 90.0)
    assert row["kappa"] == pytest.approx(
        (0.9 - (0.34 * 0.36 + 0.66 * 0.64)) / (1 - (0.34 * 0.36 + 0.66 * 0.64)), abs=1e-4
    )


def test_what_is_not_defined_is_nan():
    row = Agreement(hits=0, rejections=50, false_alarms=0, missed_alarms=0).row()
    assert math.isnan(row["kappa"]) and math.isnan(row["f1"]) and math.isnan(row["missed_alarm_percent"])
    assert row["pcc_percent"] == 100
