"""What the prediction does when one condition of the newest image is another and everything else stays.

As figure 6 of Alatalo, Sipola and Rantonen, IEEE TGRS 61, 2023. On a simulated series the right answer is known: the
simulator makes the same noise-free image under both conditions, and the predicted change is held against the true one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from sarship.change.conditions import ORBITS, RAIN_DAYS, Acquisition
from sarship.change.predictor import Predictor
from sarship.change.sample_set import Sample, SampleSet
from sarship.change.simulator import clean_image

Change = Callable[[Acquisition], Acquisition]
HEAVY_RAIN_MM = 20.0
# Rain on frozen ground or snow tells little of soil: rain is changed in images of days as warm as this, without snow.
WARM_C = 3.0
MOST_CHANGED = 0.2  # share of the pixels, those that truly change most


def other_orbit(told: Acquisition) -> Acquisition:
    return replace(told, orbit=ORBITS[1 - ORBITS.index(told.orbit)])


def heavy_rain(told: Acquisition) -> Acquisition:
    """HEAVY_RAIN_MM in the last 24 hours, nothing before."""
    return replace(told, precipitation_mm=(HEAVY_RAIN_MM, *[0.0] * (RAIN_DAYS - 1)))


def no_rain(told: Acquisition) -> Acquisition:
    return replace(told, precipitation_mm=(0.0,) * RAIN_DAYS)


@dataclass(frozen=True)
class Question:
    """One condition, as it is told first and second, in words and in fact, and the acquisitions it is asked of."""

    name: str
    title: str
    heads: tuple[str, str]
    first: Change
    second: Change
    applies: Callable[[Acquisition], bool]


QUESTIONS = {
    "orbit": Question(
        "orbit",
        "the orbit direction is other",
        ("its own orbit", "the other orbit"),
        lambda told: told,
        other_orbit,
        lambda told: True,
    ),
    "rain": Question(
        "rain",
        "the rain is other: none in four days, and much in the last",
        ("no rain", f"{HEAVY_RAIN_MM:.0f} mm of rain"),
        no_rain,
        heavy_rain,
        lambda told: told.temperature_c >= WARM_C and told.snow_depth_cm == 0,
    ),
}


@dataclass(frozen=True, eq=False)
class Answer:
    """One sample's. first, second: (2, p, p) dB predicted under both; truth: (2, p, p) dB, what truly changes, of a
    simulated series only. cover: (p, p)."""

    sample: Sample
    first: np.ndarray = field(repr=False)
    second: np.ndarray = field(repr=False)
    truth: np.ndarray | None = field(repr=False)

    @property
    def change(self) -> np.ndarray:
        """(2, p, p) dB."""
        return self.second - self.first


def ask(predictor: Predictor, samples: SampleSet, chosen: Sequence[Sample], question: Question) -> list[Answer]:
    """The predictions for samples under both conditions, without the truth."""
    images = np.stack([samples.earlier_images(each) for each in chosen])
    elevation = np.stack([samples.elevation(each) for each in chosen])
    both = []
    for changed in (question.first, question.second):
        told = [[*earlier, changed(newest)] for *earlier, newest in map(samples.conditions, chosen)]
        both.append(predictor.batch(images, elevation, told))
    return [Answer(each, first, second, None) for each, first, second in zip(chosen, *both, strict=True)]


def choose_samples(samples: SampleSet, question: Question, most: int) -> list[Sample]:
    """Test samples that the question applies to, at most so many, evenly over them."""
    fitting = [each for each in samples.of_split("test") if question.applies(samples.acquisition(each, each.newest))]
    step = max(1, -(-len(fitting) // most))
    return fitting[::step]


def with_truth(answers: Sequence[Answer], samples: SampleSet, series: Path, question: Question) -> list[Answer]:
    """The answers with what the simulator says of the same places. series: the folder that has the areas."""
    places = samples.corners()
    by_image: dict[tuple[str, int], list[Answer]] = {}
    for answer in answers:
        by_image.setdefault((answer.sample.area, answer.sample.newest), []).append(answer)
    found = {}
    for (area, newest), own in by_image.items():
        told = samples.acquisitions[area][newest]
        first, second = (clean_image(series / area, change(told)) for change in (question.first, question.second))
        for answer in own:
            row, col = places[answer.sample.place]
            part = np.s_[:, row : row + samples.patch, col : col + samples.patch]
            found[answer.sample.name] = replace(answer, truth=(second - first)[part])
    return [found[each.sample.name] for each in answers]


def agreement(answers: Sequence[Answer], band: int, chosen: np.ndarray) -> Mapping[str, float]:
    """How the predicted change of a band fits the true one, over the chosen pixels of all answers.

    chosen: (n, p, p) bool. correlation: Pearson's. slope: of the predicted on the true change, 1 if it is all of it.
    share_where_changed: of the predicted change's energy, what lies in the MOST_CHANGED pixels that truly change most;
    as much as MOST_CHANGED says that it lies anywhere.
    """
    predicted = np.stack([answer.change[band] for answer in answers])[chosen].astype(np.float64)
    truth = np.stack([answer.truth[band] for answer in answers])[chosen].astype(np.float64)
    energy = np.square(predicted)
    # Of equals at the border, none: the share of pixels is at most MOST_CHANGED.
    most = np.argsort(-np.abs(truth), kind="stable")[: int(MOST_CHANGED * truth.size)]
    centred = truth - truth.mean()
    return {
        "true_mean_db": float(truth.mean()),
        "true_spread_db": float(truth.std()),
        "correlation": float(np.corrcoef(predicted, truth)[0, 1]),
        "slope": float((centred @ predicted) / (centred @ centred)),
        "share_where_changed": float(energy[most].sum() / energy.sum()),
    }
