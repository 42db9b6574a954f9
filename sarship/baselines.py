"""What a network has to beat: the majority class, and a linear classifier on hand-made features."""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from skimage.feature import hog
from skimage.filters import gaussian
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sarship.scores import macro_f1
from sarship.stored_chips import Chips

# Dalal and Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005: 9 orientations, blocks of 2 x 2
# cells, L2-Hys and the square root of the pixels did best there.
ORIENTATIONS, BLOCK_CELLS = 9, 2
# Cells a side, whatever the chip's size: 4 px of a 64 px chip, 8 of 128, 14 of 224. At the default extent of 512 m
# a cell is 32 m, the beam of a large ship. Gives 15 x 15 blocks x 4 cells x 9 orientations = 8100 features.
CELLS = 16
# Unlike photographs, which Dalal and Triggs found best unsmoothed, speckle has gradients as strong as the ship's, and
# block normalisation lifts those of dark sea to the same height: average first, over 2 px of a 128 px chip.
SMOOTHING_PER_SIDE = 1 / 64
# There are more features than chips, so the classes are separable and what C there is to find lies well below 1.
C_GRID = (1e-5, 1e-4, 1e-3, 1e-2)
C_WITHOUT_VAL = 1e-3
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
    C is the one with the best macro F1 on val; probabilities are softmax(decision / T), where T gives the least
    negative log-likelihood on val (Guo et al., ICML 2017) and leaves the answers as they are. With no val chips (the
    published split) there is nothing to choose by: C = 0.001, T = 1. A class without training chips has probability 0.
    """
    present = np.unique(train_labels)
    if len(present) == 1:
        return {name: np.tile(np.eye(k)[present[0]], (len(pixels), 1)) for name, pixels in test_pixels_by_set.items()}
    features, labels = hog_features(_with_mirror_images(np.asarray(train_pixels))), np.tile(train_labels, 4)
    if len(val_labels):
        val_features = hog_features(val_pixels)
        # One after the other: liblinear's random numbers are global, so in threads the results would not repeat.
        candidates = [_fit(features, labels, c, seed) for c in C_GRID]
        svm = max(candidates, key=lambda svm: macro_f1(val_labels, svm.predict(val_features), k))
        temperature = fit_temperature(_decision(svm, val_features, k), val_labels)
    else:
        svm, temperature = _fit(features, labels, C_WITHOUT_VAL, seed), 1.0
    return {
        name: softmax(_decision(svm, hog_features(pixels), k) / temperature, axis=1)
        for name, pixels in test_pixels_by_set.items()
    }


def _with_mirror_images(pixels: np.ndarray) -> np.ndarray:
    """(n, rows, cols[, 3]) to (4 n, ...): as they are, upside down, left to right, and both."""
    return np.concatenate([pixels, pixels[:, ::-1], pixels[:, :, ::-1], pixels[:, ::-1, ::-1]])


def hog_features(pixels: Chips) -> np.ndarray:
    """(n, rows, cols[, 3]) uint8 to (n, 8100) float32 histograms of oriented gradients, of colour those of its luma."""
    n, rows, cols = pixels.shape[:3]
    cell = (rows // CELLS, cols // CELLS)
    blocks = CELLS - BLOCK_CELLS + 1
    features = np.empty((n, blocks * blocks * BLOCK_CELLS**2 * ORIENTATIONS), dtype=np.float32)
    for row, chip in zip(features, pixels, strict=True):
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
    return features


def _luma(chip: np.ndarray) -> np.ndarray:
    """(rows, cols) of a chip (rows, cols[, 3]): the weights of ITU-R BT.601 for colour."""
    return chip if chip.ndim == 2 else chip @ np.array([0.299, 0.587, 0.114])


def _fit(features: np.ndarray, labels: np.ndarray, c: float, seed: int) -> Pipeline:
    # The dual is the problem that liblinear solves well where features outnumber chips.
    svm = LinearSVC(C=c, class_weight="balanced", dual=True, max_iter=5000, random_state=seed)
    return make_pipeline(StandardScaler(), svm).fit(features, labels)


def _decision(svm: Pipeline, features: np.ndarray, k: int) -> np.ndarray:
    """(n, k) margins; minus infinity for a class that the SVM has never seen."""
    decision = np.full((len(features), k), -np.inf)
    if len(features):
        margins = svm.decision_function(features)
        # Of two classes scikit-learn gives one margin, positive for the second.
        decision[:, svm.classes_] = margins if margins.ndim == 2 else np.column_stack([-margins, margins])
    return decision


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
