"""Difference images by prediction and by earlier images, on the same changed samples, scored alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from sarship.change.detection import SVC_FOLDS, PixelSample, ScoreCounts, draw_places, interval
from sarship.change.earlier import CHOICES, choose_earlier, earlier_references
from sarship.change.injection import Changed
from sarship.change.predictor import Predictor
from sarship.change.sample_set import Sample, SampleSet
from sarship.command import UserError

AT_ONCE = 64  # samples that are predicted in one batch
COLUMNS = (
    "classifier", "change", "input", "metric", "value", "low", "high", "gain", "gain_low", "gain_high",
    "samples", "places",
)  # fmt: skip


@dataclass(frozen=True)
class Score:
    """One input of a classifier on one kind of change.

    value: AUC or accuracy, 0..1, with its interval over places. gain: value minus that of the best of the three
    published choices of an earlier image, on the same draws of places; None for that choice itself.
    """

    classifier: str
    change: str
    input: str
    metric: str
    value: float
    interval: tuple[float, float]
    gain: float | None
    gain_interval: tuple[float, float] | None
    samples: int
    places: int

    def row(self) -> dict[str, str]:
        """Cells of change_scores.csv, four decimals."""
        low, high = self.gain_interval or (None, None)
        numbers = (self.value, *self.interval, self.gain, low, high)
        cells = ("" if number is None else f"{number:.4f}" for number in numbers)
        words = (self.classifier, self.change, self.input, self.metric)
        return dict(zip(COLUMNS, (*words, *cells, str(self.samples), str(self.places)), strict=True))


@dataclass(eq=False)
class Tally:
    """What is counted of one input while samples pass."""

    counts: ScoreCounts
    pixels: PixelSample = field(default_factory=PixelSample)


def comparable(samples: SampleSet, changed: Changed, max_angle_deg: float) -> list[tuple[int, dict[str, int]]]:
    """Numbers of the changed samples in which every choice of an earlier image has one, with the choices."""
    found = []
    for number, sample in enumerate(changed.samples):
        choice = choose_earlier(samples.conditions(sample), max_angle_deg)
        if choice is not None:
            found.append((number, choice))
    return found


def tally(
    samples: SampleSet, changed: Changed, predictors: Mapping[str, Predictor], max_angle_deg: float, seed: int
) -> tuple[dict[str, Tally], int]:
    """Every input's counts over the changed samples, and how many samples these are. predictors: by input's name.

    Raises UserError if too few places are left to compare.
    """
    chosen = comparable(samples, changed, max_angle_deg)
    places = {name: index for index, name in enumerate(sorted({changed.samples[n].place for n, _ in chosen}))}
    if len(places) < SVC_FOLDS:
        raise UserError(
            f"only {len(places)} places have changed samples whose four earlier images hold one of the same orbit and "
            f"incidence angle, and {SVC_FOLDS} are needed; use more places or a larger --max-angle"
        )
    tallies: dict[str, Tally] = {}
    for start in tqdm(range(0, len(chosen), AT_ONCE), unit=" batches", leave=False, disable=None):
        part = chosen[start : start + AT_ONCE]
        own = [changed.samples[number] for number, _ in part]
        predicted = {name: predict(each, samples, own) for name, each in predictors.items()}
        for index, (number, choice) in enumerate(part):
            references = {name: images[index] for name, images in predicted.items()}
            references |= earlier_references(samples.earlier_images(own[index]), choice)
            newest, mask = changed.images[number].astype(np.float32), changed.masks[number]
            for name, reference in references.items():
                one = tallies.setdefault(name, Tally(ScoreCounts(len(places))))
                place = places[own[index].place]
                one.counts.add(place, newest - reference, mask)
                # The same pixels for every input, so that they are compared on the same ones.
                one.pixels.add(place, newest - reference, mask, np.random.default_rng([seed, number]))
    return tallies, len(chosen)


def predict(predictor: Predictor, samples: SampleSet, chosen: Sequence[Sample]) -> np.ndarray:
    """(n, 2, p, p) dB: the newest images of samples as they should look."""
    images = np.stack([samples.earlier_images(each) for each in chosen])
    elevation = np.stack([samples.elevation(each) for each in chosen])
    return predictor.batch(images, elevation, [samples.conditions(each) for each in chosen])


def scores(tallies: Mapping[str, Tally], change: str, samples: int, seed: int) -> list[Score]:
    """Threshold AUC and linear SVC accuracy of every input, with intervals. change: what was injected, in words."""
    places = len(next(iter(tallies.values())).counts.changed)
    drawn = draw_places(places, seed)
    auc = {name: (float(one.counts.auc()[0]), one.counts.auc(drawn)) for name, one in tallies.items()}
    accuracy = {}
    for name, one in tallies.items():
        right, count = one.pixels.correct(places)
        with np.errstate(invalid="ignore"):
            accuracy[name] = (right.sum() / count.sum(), (drawn @ right) / (drawn @ count))
    return [
        *_compared(auc, "threshold", "AUC", change, samples, places),
        *_compared(accuracy, "linear SVC", "accuracy", change, samples, places),
    ]


def _compared(
    found: Mapping[str, tuple[float, np.ndarray]], classifier: str, metric: str, change: str, samples: int, places: int
) -> list[Score]:
    best = max(CHOICES, key=lambda name: found[name][0])
    best_value, best_draws = found[best]
    rows = []
    for name, (value, draws) in found.items():
        gain, gain_interval = (None, None) if name == best else (value - best_value, interval(draws - best_draws))
        rows.append(
            Score(classifier, change, name, metric, value, interval(draws), gain, gain_interval, samples, places)
        )
    return rows
