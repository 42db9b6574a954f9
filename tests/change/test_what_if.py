"""One condition is other, and the prediction is held against what truly changes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sarship.change.what_if import HEAVY_RAIN_MM, QUESTIONS, Answer, agreement, ask, choose_samples
from tests.change.small_series import acquisitions


def answer(change: np.ndarray, truth: np.ndarray) -> Answer:
    return Answer(None, np.zeros_like(change), change, truth)


def test_agreement_of_a_prediction_that_is_right_half_of_it_and_unrelated():
    generator = np.random.default_rng(1)
    truth = generator.normal(size=(2, 40, 40)) ** 3
    one, two = np.ones((1, 40, 40), bool), np.ones((2, 40, 40), bool)
    right = agreement([answer(truth, truth)], 1, one)
    assert right["correlation"] == pytest.approx(1)
    assert right["slope"] == pytest.approx(1)
    half = agreement([answer(truth / 2, truth), answer(truth / 2, truth)], 0, two)
    assert half["correlation"] == pytest.approx(1)
    assert half["slope"] == pytest.approx(0.5)
    assert half["share_where_changed"] == pytest.approx(right["share_where_changed"], abs=0.02)
    unrelated = agreement([answer(generator.normal(size=(2, 40, 40)), truth)], 0, one)
    assert abs(unrelated["correlation"]) < 0.1
    assert unrelated["share_where_changed"] == pytest.approx(0.2, abs=0.05)


def test_only_chosen_pixels_count():
    truth = np.random.default_rng(2).normal(size=(2, 40, 40))
    change, chosen = truth.copy(), np.zeros((1, 40, 40), bool)
    chosen[0, :10] = True
    change[:, 10:] = 99
    assert agreement([answer(change, truth)], 0, chosen)["slope"] == pytest.approx(1)


def test_only_the_one_condition_is_other():
    told = acquisitions(1)[0]
    orbit, rain = QUESTIONS["orbit"], QUESTIONS["rain"]
    assert orbit.first(told) == told
    assert orbit.second(told) == replace(told, orbit="descending")
    assert orbit.second(orbit.second(told)) == told
    dry, wet = rain.first(told), rain.second(told)
    assert dry.precipitation_mm == (0, 0, 0, 0)
    assert wet == replace(dry, precipitation_mm=(HEAVY_RAIN_MM, 0, 0, 0))


def test_the_rain_is_asked_of_warm_days_without_snow_and_samples_are_spread(tmp_path):
    days = [replace(each, temperature_c=t, snow_depth_cm=s)
            for each, (t, s) in zip(acquisitions(4), [(5, 0), (1, 0), (5, 3), (9, 0)], strict=True)]  # fmt: skip
    samples = SimpleNamespace(
        of_split=lambda split: [SimpleNamespace(newest=number % 4) for number in range(40)],
        acquisition=lambda sample, number: days[number],
    )
    fitting = choose_samples(samples, QUESTIONS["rain"], 5)
    assert {each.newest for each in fitting} <= {0, 3}
    assert len(fitting) == 5
    assert len(choose_samples(samples, QUESTIONS["orbit"], 100)) == 40


def test_the_network_is_asked_twice_about_the_newest_image_only():
    seen = []

    def batch(images, elevation, told):
        seen.append(told)
        return np.full((len(images), 2, 4, 4), len(seen), np.float32)

    five = acquisitions(5)
    samples = SimpleNamespace(
        earlier_images=lambda sample: np.zeros((4, 2, 4, 4)),
        elevation=lambda sample: np.zeros((4, 4)),
        conditions=lambda sample: five,
    )
    found = ask(SimpleNamespace(batch=batch), samples, ["a", "b"], QUESTIONS["orbit"])
    assert [each.sample for each in found] == ["a", "b"]
    assert (found[0].change == 1).all()
    assert seen[0] == [five, five]
    assert seen[1] == [[*five[:4], replace(five[4], orbit="descending")]] * 2
