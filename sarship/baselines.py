"""What a network has to beat: the majority class, and a linear classifier on hand-made features."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from skimage.feature import hog
from skimage.filters import gaussian

from sarship.command import log
from sarship.linear_svm import LinearSvm, fit_linear_svms
from sarship.scores import macro_f1
from sarship.stored_chips import Chips, joined
from sarship.thinning import thinned

# Dalal and Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005: 9 orientations, blocks of 2 x 2
# cells, L2-Hys and the square root of the pixels did best there.
ORIENTATIONS, BLOCK_CELLS = 9, 2
# Cells a side, whatever the chip's size: 4 px of a 64 px chip, 8 of 128, 14 of 224. At the default extent of 512 m
# a cell is 32 m, the beam of a large ship. Gives 15 x 15 blocks x 4 cells x 9 orientations = 8100 features.
CELLS = 16
FEATURES = (CELLS - BLOCK_CELLS + 1) ** 2 * BLOCK_CELLS**2 * ORIENTATIONS
MIRRORINGS = ((1, 1), (-1, 1), (1, -1), (-1, -1))  # steps along rows and columns
# Unlike photographs, which Dalal and Triggs found best unsmoothed, speckle has gradients as strong as the ship's, and
# block normalisation lifts those of dark sea to the same height: average first, over 2 px of a 128 px chip.
SMOOTHING_PER_SIDE = 1 / 64
# There are more features than chips, so the classes are separable and what C there is to find lies well below 1.
C_GRID = (1e-5, 1e-4, 1e-3, 1e-2)
C_WITHOUT_VAL = 1e-3
# Of larger sets, the SVM learns from so many chips: with their mirror images and 8100 features each, 1.3 GB.
LARGEST_TRAINING = 10_000
TESTED_AT_ONCE = 1024  # chips whose features are in memory
LOG_TEMPERATURE_BOUNDS = (-7.0, 7.0)  # from a thousandth to a thousandfold of the SVM's own margins


def majority(train_labels: np.ndarray, n_test: int, k: int) -> np.ndarray:
    """Class frequencies of the training set for every test chip, so that the answer is its majority class.

    train_labels: (n,) 0..k-1. Returns (n_test, k).
    """
    frequencies = np.bincount(train_labels, minlength=k) / len(train_labels)
    return np.tile(frequencies, (n_test, 1))


def hog_svm(
    train_pixels: Chips,
    train_labels: np.ndarray,
    val_pixels: Chips,
    val_labels: np.ndarray,
    test_pixels_by_set: Mapping[str, Chips],
    k: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Class probabilities of a linear SVM on HOG features, for each test set.

    pixels: (n, rows, cols[, 3]) uint8, sides of at least 32; labels: (n,) 0..k-1. Returns (n, k) for each name.
    The SVM learns from each chip and its mirror images, as the networks do, and weighs classes by inverse frequency.
    Of more than LARGEST_TRAINING chips, it learns from those that `largest_share` draws, and that is logged.
    C is the one with the best macro F1 on val; probabilities are softmax(decision / T), where T gives the least
    negative log-likelihood on val (Guo et al., ICML 2017) and leaves the answers as they are. With no val chips (the
    published split) there is nothing to choose by: C = 0.001, T = 1. A class without training chips has probability 0.
    """
    present = np.unique(train_labels)
    if len(present) == 1:
        return {name: np.tile(np.eye(k)[present[0]], (len(pixels), 1)) for name, pixels in test_pixels_by_set.items()}
    features, labels = _to_learn_from(train_pixels, train_labels, k, seed)
    svms = fit_linear_svms(features, labels, C_GRID if len(val_labels) else [C_WITHOUT_VAL])
    del features
    temperature = 1.0
    if len(val_labels):
        decisions = _decisions(svms, val_pixels, k)
        best = max(range(len(svms)), key=lambda index: macro_f1(val_labels, decisions[index].argmax(axis=1), k))
        svms, temperature = [svms[best]], fit_temperature(decisions[best], val_labels)
    return {
        name: softmax(_decisions(svms, pixels, k)[0] / temperature, axis=1)
        for name, pixels in test_pixels_by_set.items()
    }


def _to_learn_from(pixels: Chips, labels: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(4 n, 8100) features of n chips as they are, upside down, left to right, and both; and their labels."""
    kept = largest_share(labels, k, seed)
    if len(kept) < len(labels):
        limit = np.bincount(labels[kept]).max()
        log(f"HOG_SVM: learns from {len(kept):,} of {len(labels):,} training chips, at most {limit:,} of a class")
    pixels = joined([pixels]).chosen(kept)
    features = np.empty((len(MIRRORINGS) * len(kept), FEATURES), dtype=np.float32)
    for part, (row_step, col_step) in zip(np.split(features, len(MIRRORINGS)), MIRRORINGS, strict=True):
        _fill(part, (chip[::row_step, ::col_step] for chip in pixels))
    return features, np.tile(labels[kept], len(MIRRORINGS))


def largest_share(labels: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Indices of the chips that the SVM learns from, in their order: all, of LARGEST_TRAINING at most.

    Of more than that, the largest classes lose chips until as many are left, so that rare ones keep theirs.
    """
    counts = np.bincount(labels, minlength=k)
    limits = np.arange(1, LARGEST_TRAINING + 1)
    allowed = limits[np.minimum(counts, limits[:, None]).sum(axis=1) <= LARGEST_TRAINING]
    return thinned(labels, k, seed, train_chips=int(allowed[-1]))


def _decisions(svms: Sequence[LinearSvm], pixels: Chips, k: int) -> np.ndarray:
    """(svms, n, k) margins; minus infinity for a class that the SVMs have never seen."""
    decisions = np.full((len(svms), len(pixels), k), -np.inf)
    for start in range(0, len(pixels), TESTED_AT_ONCE):
        features = hog_features(pixels[start : start + TESTED_AT_ONCE])
        for svm, decision in zip(svms, decisions, strict=True):
            decision[start : start + len(features), svm.classes] = svm.margins(features)
    return decisions


def hog_features(pixels: Chips) -> np.ndarray:
    """(n, rows, cols[, 3]) uint8 to (n, 8100) float32 histograms of oriented gradients, of colour those of its luma."""
    features = np.empty((len(pixels), FEATURES), dtype=np.float32)
    _fill(features, pixels)
    return features


def _fill(features: np.ndarray, chips: Iterable[np.ndarray]) -> None:
    """Put the histograms of chips (rows, cols[, 3]) uint8 into the rows of (n, 8100)."""
    for row, chip in zip(features, chips, strict=True):
        rows, cols = chip.shape[:2]
        cell = (rows // CELLS, cols // CELLS)
        smooth = gaussian(_luma(chip), sigma=SMOOTHING_PER_SIDE * rows, preserve_range=True)
        # Sides that 16 does not divide lose the remainder: a strip of sea, thinner than a cell.
        row[:] = hog(
            smooth[: cell[0] * CELLS, : cell[1] * CELLS],
            orientations=ORIENTATIONS,
            pixels_per_cell=cell,
            cells_per_block=(BLOCK_CELLS, BLOCK_CELLS),
            block_norm="L2-Hys",
            transform_sqrt=True,
        )


def _luma(chip: np.ndarray) -> np.ndarray:
    """(rows, cols) of a chip (rows, cols[, 3]): the weights of ITU-R BT.601 for colour."""
    return chip if chip.ndim == 2 else chip @ np.array([0.299, 0.587, 0.114])


def fit_temperature(decision: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 for which softmax(decision / T) has the least negative log-likelihood; 1 where no label is possible.

    decision: (n, k), minus infinity for impossible classes, whose chips are left out. labels: (n,).
    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    possible = np.isfinite(decision[np.arange(len(labels)), labels])
    if not possible.any():
        return 1.0

    def negative_log_likelihood(log_temperature: float) -> float:
        log_probabilities = log_softmax(decision[possible] / np.exp(log_temperature), axis=1)
        return -np.take_along_axis(log_probabilities, labels[possible, None], axis=1).mean()

    best = minimize_scalar(negative_log_likelihood, bounds=LOG_TEMPERATURE_BOUNDS, method="bounded")
    return float(np.exp(best.x))
