"""How well a difference image tells changed pixels from unchanged: threshold ROC and AUC, a linear SVC, intervals.

As Alatalo, Sipola and Rantonen, IEEE TGRS 61, 2023, section V: the threshold is on the length of the difference
vector (VV, VH), and every changed pixel is weighed against one unchanged pixel of the same image. They draw that pixel;
here all unchanged pixels of the image count, with the weight of one together. Samples of one place show the same
ground, so intervals are over places: all samples of a place are drawn together.
"""

import numpy as np
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sarship.scores import BOOTSTRAP_DRAWS, INTERVAL_PERCENT

BIN_DB, MOST_DB = 0.02, 60.0
BINS = round(MOST_DB / BIN_DB)
SVC_PIXELS = 64  # changed pixels of a sample that the SVC is given at most, and as many unchanged
SVC_FOLDS = 3  # as published, a third tests


class ScoreCounts:
    """Lengths of difference vectors of changed and unchanged pixels, counted by place in bins of BIN_DB.

    Everything that is said of a threshold can be computed from it, in memory that does not grow with the samples.
    """

    def __init__(self, places: int):
        self.changed = np.zeros((places, BINS))
        self.unchanged = np.zeros((places, BINS))

    def add(self, place: int, difference: np.ndarray, mask: np.ndarray) -> None:
        """Count one sample, its unchanged pixels with the weight of its changed ones.

        difference: (2, p, p) dB; mask: (p, p) bool, with changed and unchanged pixels.
        """
        changed, unchanged = _binned(difference, mask)
        self.changed[place] += changed
        self.unchanged[place] += unchanged * (changed.sum() / unchanged.sum())

    def add_pixels(self, place: int, difference: np.ndarray, mask: np.ndarray) -> None:
        """Count pixels as they are; difference: (2, n) dB, mask: (n,) bool."""
        changed, unchanged = _binned(difference, mask)
        self.changed[place] += changed
        self.unchanged[place] += unchanged

    def auc(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Area under the ROC curve, 0..1, for each row of weights (draws, places); once over all places without."""
        weights = np.ones((1, len(self.changed))) if weights is None else weights
        changed, unchanged = weights @ self.changed, weights @ self.unchanged
        below = np.cumsum(unchanged, axis=1) - unchanged / 2  # of two in the same bin, either may be the higher
        return (changed * below).sum(axis=1) / (changed.sum(axis=1) * unchanged.sum(axis=1))

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates (bins + 1,), both from 0 to 1, as the threshold falls."""
        rates = []
        for counts in (self.unchanged, self.changed):
            above = np.concatenate([[0], counts.sum(axis=0)[::-1].cumsum()])
            rates.append(above / above[-1])
        return rates[0], rates[1]


def _binned(difference: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(BINS,) changed and unchanged pixels by the length of their difference vectors."""
    length = np.sqrt(np.square(difference, dtype=np.float64).sum(axis=0))
    bins = np.minimum(length / BIN_DB, BINS - 1).astype(int)
    return np.bincount(bins[mask], minlength=BINS), np.bincount(bins[~mask], minlength=BINS)


class PixelSample:
    """Difference vectors of a few pixels of each sample, as many changed as unchanged, for the SVC."""

    def __init__(self):
        self._differences, self._labels, self._places = [], [], []

    def add(self, place: int, difference: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> None:
        """Draw from one sample; difference: (2, p, p) dB, mask: (p, p) bool."""
        changed, unchanged = (np.flatnonzero(part) for part in (mask, ~mask))
        count = min(SVC_PIXELS, len(changed), len(unchanged))
        flat = difference.reshape(2, -1)
        for label, pixels in ((1, changed), (0, unchanged)):
            self._differences.append(flat[:, generator.choice(pixels, count, replace=False)].T)
            self._labels.append(np.full(count, label))
            self._places.append(np.full(count, place))

    def correct(self, places: int) -> tuple[np.ndarray, np.ndarray]:
        """(places,) pixels that a linear SVC trained on other places tells rightly, and (places,) pixels.

        Raises ValueError if there are fewer places than folds.
        """
        differences, labels, groups = map(np.concatenate, (self._differences, self._labels, self._places))
        right = np.zeros(len(labels), bool)
        for train, test in GroupKFold(SVC_FOLDS).split(differences, labels, groups):
            classifier = make_pipeline(StandardScaler(), LinearSVC(dual=False))
            classifier.fit(differences[train], labels[train])
            right[test] = classifier.predict(differences[test]) == labels[test]
        return np.bincount(groups, right, minlength=places), np.bincount(groups, minlength=places)


def draw_places(places: int, seed: int) -> np.ndarray:
    """(draws, places) how often each place is in each bootstrap draw (Efron and Tibshirani, 1993, 13.3)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(places, np.full(places, 1 / places), size=BOOTSTRAP_DRAWS).astype(float)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The percentile interval of bootstrap draws; draws without any pixel are nan and left out."""
    beyond = (100 - INTERVAL_PERCENT) / 2
    low, high = np.nanpercentile(values, [beyond, 100 - beyond])
    return float(low), float(high)
