"""Difference images: how much each pixel differs between two intensity images of one place.

Speckle multiplies, so dates are compared by ratios, which know neither a common factor of both images nor which of
them is the earlier one.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from sarship.change.pairs.reading import Pair

# Added to both images below a logarithm, in shares of their common mean: 0.7 grey levels of Ottawa, 1.5 of Sulzberger,
# where others add 1. A share, so that the scale of the images has no effect.
OFFSET_SHARE = 0.01
MEAN_WINDOW = 3  # pixels
GAUSS_SIGMA_PX = 1.0


def offset(pair: Pair) -> float:
    """What is added to intensities before a logarithm is taken; above 0."""
    return OFFSET_SHARE * (pair.before[pair.valid].mean() + pair.after[pair.valid].mean()) / 2


def signed_log_ratio(pair: Pair) -> np.ndarray:
    """ln((after + c) / (before + c)), (rows, cols); c: `offset`."""
    c = offset(pair)
    return np.log((pair.after + c) / (pair.before + c))


def log_ratio(pair: Pair) -> np.ndarray:
    """|ln((after + c) / (before + c))|, (rows, cols), 0 and up.

    Bovolo and Bruzzone, A detail-preserving scale-driven approach to change detection in multitemporal SAR images,
    IEEE TGRS 43(12), 2005.
    """
    return np.abs(signed_log_ratio(pair))


def mean_ratio(pair: Pair) -> np.ndarray:
    """1 - min(m / n, n / m) of the local means m and n in windows of 3 x 3 pixels, (rows, cols), 0..1.

    Inglada and Mercier, A new statistical similarity measure for change detection in multitemporal SAR images and its
    extension to multiscale change analysis, IEEE TGRS 45(5), 2007.
    """
    before, after = (np.maximum(uniform_filter(each, MEAN_WINDOW), 0) for each in (pair.before, pair.after))
    larger = np.maximum(before, after)
    ratio = np.divide(np.minimum(before, after), larger, out=np.ones_like(larger), where=larger > 0)
    return 1 - ratio


def gauss_ratio(pair: Pair) -> np.ndarray:
    """|ln((G * after + c) / (G * before + c))| with Gaussian weights G of 1 pixel, (rows, cols), 0 and up.

    After the Gauss-log ratio of Hou, Wei, Zheng and Wang, Unsupervised change detection in SAR image based on Gauss-log
    ratio image fusion and compressed projection, IEEE JSTARS 7(8), 2014: neighbours count by their distance. The width
    of the weights, and the offset c, are this project's.
    """
    c = offset(pair)
    before, after = (gaussian_filter(each, GAUSS_SIGMA_PX) for each in (pair.before, pair.after))
    return np.abs(np.log((after + c) / (before + c)))


# By the name in --difference.
DIFFERENCES: Mapping[str, Callable[[Pair], np.ndarray]] = {
    "log-ratio": log_ratio,
    "mean-ratio": mean_ratio,
    "gauss-ratio": gauss_ratio,
}
