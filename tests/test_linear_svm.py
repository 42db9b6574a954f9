"""Linear support vector machines: those of scikit-learn, and the least of what they make small."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits

from sarship import linear_svm
from sarship.linear_svm import fit_linear_svms

PENALTIES = (1e-4, 1e-2)


def drawn(classes: int, count: int = 400, width: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features that tell unequal classes apart, though not all chips of them; the last feature is always the same."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(classes, count, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    centres = generator.normal(0, 0.3, (classes, width))
    features = (centres[labels] + generator.normal(0, 1, (count, width))) * generator.uniform(0.1, 9, width) + 5
    features[:, -1] = 3
    return features.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_margins_are_those_of_scikit_learn(classes):
    features, labels = drawn(classes)
    fresh, _ = drawn(classes, seed=1)
    labels = labels + 2  # some labels never occur
    scaler = StandardScaler().fit(features)
    for svm, penalty in zip(fit_linear_svms(features.copy(), labels, PENALTIES), PENALTIES, strict=True):
        theirs = LinearSVC(C=penalty, class_weight="balanced", tol=1e-7, max_iter=100_000, random_state=0)
        margins = theirs.fit(scaler.transform(features), labels).decision_function(scaler.transform(fresh))
        margins = margins if margins.ndim == 2 else np.column_stack([-margins, margins])
        assert svm.classes.tolist() == theirs.classes_.tolist()
        assert svm.margins(fresh) == pytest.approx(margins, abs=0.01)
        assert np.ptp(margins) > 0.3  # there is something to agree on


def test_features_are_standardised_where_they_are():
    features, labels = drawn(3)
    fit_linear_svms(features, labels, PENALTIES)
    assert features[:, :-1].mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert features[:, :-1].std(axis=0) == pytest.approx(1, abs=1e-5)
    assert not features[:, -1].any()


def test_the_gradient_is_that_of_the_value(monkeypatch):
    monkeypatch.setattr(linear_svm, "ROWS_AT_ONCE", 64)  # several parts
    features, labels = drawn(3, width=8)
    linear_svm._standardise(features)
    signs, costs = linear_svm._problems(labels, np.unique(labels))
    generator = np.random.default_rng(0)
    solution, step = generator.normal(0, 0.3, (2, 9, 3))

    def value(share: float) -> float:
        return linear_svm._objective(features, signs, costs, solution + share * step)[0]

    _, gradient = linear_svm._objective(features, signs, costs, solution)
    assert (value(1e-2) - value(-1e-2)) / 2e-2 == pytest.approx((gradient * step).sum(), rel=1e-3)


def test_one_that_is_not_solved_says_so(monkeypatch, capsys):
    features, labels = drawn(3)
    fit_linear_svms(features.copy(), labels, PENALTIES)
    assert not capsys.readouterr().err
    monkeypatch.setattr(linear_svm, "ITERATIONS", 3)
    fit_linear_svms(features, labels, PENALTIES[-1:])
    assert "warning: a linear SVM is not solved after 3 iterations" in capsys.readouterr().err


def test_threads_do_not_change_a_bit():
    features, labels = drawn(4, count=9000, width=300)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            (svm,) = fit_linear_svms(features.copy(), labels, [1e-3])
            found.append((svm.weights.tobytes(), svm.margins(features).tobytes()))
    assert found[0] == found[1]
