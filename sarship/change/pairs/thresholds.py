"""Thresholds on a difference image: above is change."""

import numpy as np
from skimage.filters import threshold_otsu
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

BINS = 256
STARTS = 10  # of k-means; the best one counts


def otsu(values: np.ndarray) -> float:
    """The threshold between two classes of the largest variance between them; values: (n,).

    Otsu, A threshold selection method from gray-level histograms, IEEE Trans. SMC 9(1), 1979.
    """
    return float(threshold_otsu(values, nbins=BINS))


def kittler(values: np.ndarray) -> float:
    """The threshold of the least classification error between two Gaussian classes; values: (n,).

    Kittler and Illingworth, Minimum error thresholding, Pattern Recognition 19(1), 1986: the minimum of their J(T),
    eq. 15, on a histogram of 256 bins. A threshold must leave more than one value on either side.
    """
    counts, edges = np.histogram(values, BINS)
    criterion = minimum_error(counts / counts.sum(), (edges[1:] + edges[:-1]) / 2)
    if not np.isfinite(criterion).any():  # all values in two bins: whatever lies between them divides them
        return float((values.min() + values.max()) / 2)
    best = np.flatnonzero(criterion == criterion.min())
    return float((edges[best[0] + 1] + edges[best[-1] + 1]) / 2)  # amid empty bins, which all do as well


def minimum_error(shares: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """J of Kittler and Illingworth if all bins up to each one are the lower class, (bins - 1,); inf where undefined.

    shares: (bins,), sum 1; centres: (bins,).
    J = 1 + 2 (P1 ln s1 + P2 ln s2) - 2 (P1 ln P1 + P2 ln P2), with shares P and standard deviations s of the classes.
    """
    criterion = np.ones(len(shares) - 1)
    for direction in (1, -1):  # the lower class is summed up from below, the upper one from above
        share = np.cumsum(shares[::direction])[:-1][::direction]
        mean = np.cumsum((shares * centres)[::direction])[:-1][::direction]
        square = np.cumsum((shares * centres**2)[::direction])[:-1][::direction]
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = square / share - (mean / share) ** 2
            # One bin has no width to speak of: what is left of its variance is rounding.
            is_spread = variance > 1e-6 * (centres[1] - centres[0]) ** 2
            part = share * np.log(np.where(is_spread, variance, np.nan)) - 2 * share * np.log(share)
        criterion += part
    return np.where(np.isnan(criterion), np.inf, criterion)


def kmeans(values: np.ndarray, seed: int) -> float:
    """The threshold halfway between the centres of two clusters; values: (n,)."""
    clusters = two_clusters(values[:, None], seed)
    return float(clusters.cluster_centers_.mean())


def two_clusters(features: np.ndarray, seed: int) -> KMeans:
    """k-means with two clusters, fitted; features: (n, any). The same seed gives the same clusters."""
    with threadpool_limits(1):  # threads add up in whatever order they come
        return KMeans(2, n_init=STARTS, random_state=seed).fit(features)
