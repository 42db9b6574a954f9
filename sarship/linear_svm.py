"""Linear support vector machines of features in single precision, which stay the one copy that there is.

The problem is that of scikit-learn's LinearSVC with class_weight="balanced" (Fan, Chang, Hsieh, Wang & Lin 2008,
"LIBLINEAR: a library for large linear classification", JMLR 9, 1871-1874, equations 2 and 3): squared hinge, a bias
that counts as a weight, one class against the others. There, features are copied into lists of 16 bytes a number, 32
with the copies on the way; here they have 4, and the problem is solved as it stands, without its dual, by L-BFGS (Liu &
Nocedal 1989, Mathematical Programming 45, 503-528).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from sarship.command import log

ROWS_AT_ONCE = 1024  # 66 MB in double precision, in which sums over these are added up
# When it is solved: the largest slope, as a share of that at no weights at all; and what a step still gains, as a share
# of the value there. Single precision sees little below. Margins are then those of LinearSVC to some hundredths.
GRADIENT_SHARE, GAIN_SHARE = 3e-5, 1e-9
ITERATIONS, REMEMBERED = 1000, 20  # of L-BFGS at most; and how many of them it knows the curvature from


@dataclass(frozen=True, eq=False)
class LinearSvm:
    """weights: (d, problems) float64; bias: (problems,). Two classes are one problem, k are k.

    classes: (k,) labels that were there to learn, ascending.
    """

    weights: np.ndarray
    bias: np.ndarray
    classes: np.ndarray

    def margins(self, features: np.ndarray) -> np.ndarray:
        """(n, k) of features (n, d): the class with the largest is the answer."""
        with threadpool_limits(1):
            margins = features @ self.weights + self.bias
        return margins if margins.shape[1] > 1 else np.column_stack([-margins, margins])


def fit_linear_svms(features: np.ndarray, labels: np.ndarray, penalties: Sequence[float]) -> list[LinearSvm]:
    """One machine for each penalty C, which are best given in ascending order: each starts from the one before.

    features: (n, d) float32; are standardised where they are. labels: (n,), of two classes at least.
    The result does not depend on how many threads there are: one does it all.
    """
    mean, spread = _standardise(features)
    classes = np.unique(labels)
    signs, costs = _problems(labels, classes)
    solution = np.zeros((features.shape[1] + 1, signs.shape[1]))
    machines = []
    with threadpool_limits(1):
        for penalty in penalties:
            solution = _solve(features, signs, penalty * costs, solution)
            weights = solution[:-1] / spread[:, None]
            machines.append(LinearSvm(weights, solution[-1] - mean @ weights, classes))
    return machines


def _standardise(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (d,) of each feature, 1 where it is constant; all are then shifted and scaled."""
    mean = features.mean(axis=0, dtype=np.float64)
    spread = np.sqrt(sum(((rows - mean) ** 2).sum(axis=0) for rows in _parts(features)) / len(features))
    spread[spread == 0] = 1
    for rows in _parts(features):
        rows[:] = (rows - mean) / spread
    return mean, spread


def _problems(labels: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each chip is in each problem, 1 or -1, and what it costs there: both (n, problems) float32.

    Chips of the class that a problem is about count as much as an n/k of all; those of the others 1 each. Of two
    classes, each chip counts as its class does.
    """
    weights = len(labels) / (len(classes) * np.array([(labels == one).sum() for one in classes]))
    of_class = labels[:, None] == classes
    if len(classes) == 2:
        return np.where(of_class[:, 1:], 1, -1).astype(np.float32), (of_class @ weights)[:, None].astype(np.float32)
    return np.where(of_class, 1, -1).astype(np.float32), np.where(of_class, weights, 1).astype(np.float32)


def _solve(features: np.ndarray, signs: np.ndarray, costs: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(d + 1, problems) weights and bias with the least |w|^2 / 2 + sum costs max(0, 1 - signs (w x + b))^2."""
    shape = start.shape
    value, slope = _objective(features, signs, costs, np.zeros(shape))
    scale = 1 / value  # so that the tolerances of L-BFGS mean the same, however many chips there are

    def scaled(flat: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _objective(features, signs, costs, flat.reshape(shape))
        return scale * value, scale * gradient.ravel()

    tolerances = {"gtol": GRADIENT_SHARE * scale * np.abs(slope).max(), "ftol": GAIN_SHARE}
    limits = {"maxiter": ITERATIONS, "maxcor": REMEMBERED}
    found = minimize(scaled, start.ravel(), jac=True, method="L-BFGS-B", options=tolerances | limits)
    if found.nit >= ITERATIONS:
        log(f"warning: a linear SVM is not solved after {ITERATIONS} iterations; it answers as it is then")
    return found.x.reshape(shape)


def _objective(
    features: np.ndarray, signs: np.ndarray, costs: np.ndarray, solution: np.ndarray
) -> tuple[float, np.ndarray]:
    """What `_solve` makes small, and its gradient (d + 1, problems)."""
    value, gradient = 0.5 * (solution**2).sum(), solution.copy()
    weights, bias = solution[:-1].astype(np.float32), solution[-1].astype(np.float32)
    for rows, sign, cost in zip(_parts(features), _parts(signs), _parts(costs), strict=True):
        short = np.maximum(0, 1 - sign * (rows @ weights + bias))  # by how much a chip misses its margin
        value += (cost * short**2).sum(dtype=np.float64)
        pull = -2 * sign * cost * short
        gradient[:-1] += rows.T @ pull
        gradient[-1] += pull.sum(axis=0, dtype=np.float64)
    return value, gradient


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))
