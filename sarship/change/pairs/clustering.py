"""Change maps by clusters of neighbourhoods: PCA-k-means.

Celik, Unsupervised change detection in satellite images using principal component analysis and k-means clustering,
IEEE GRSL 6(4), 2009.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from sarship.change.pairs.thresholds import two_clusters

NEIGHBOURHOOD_PX = 5  # odd, so that it has a middle; Celik shows 4
COMPONENTS = 3  # as Celik


def pca_kmeans(difference: np.ndarray, valid: np.ndarray, seed: int, side: int = NEIGHBOURHOOD_PX) -> np.ndarray:
    """(rows, cols) bool: the cluster of the larger differences.

    difference: (rows, cols), any finite values, also where not valid; valid: (rows, cols) bool, which pixels take part;
    side: of the neighbourhood in pixels, odd.
    The axes are those of the blocks that do not overlap, the features are every pixel's neighbourhood along them.
    """
    with threadpool_limits(1):
        axes = PCA(COMPONENTS, svd_solver="full").fit(_blocks(difference, valid, side))
        padded = np.pad(difference, side // 2, mode="reflect")
        windows = sliding_window_view(padded, (side, side))[valid].reshape(-1, side * side)
        features = axes.transform(windows)
    labels = two_clusters(features, seed).labels_
    means = [difference[valid][labels == label].mean() for label in (0, 1)]
    changed = np.zeros(difference.shape, bool)
    changed[valid] = labels == np.argmax(means)
    return changed


def _blocks(difference: np.ndarray, valid: np.ndarray, side: int) -> np.ndarray:
    """(blocks, side * side): blocks with data in all pixels; all blocks if fewer than the components have it."""
    windows = sliding_window_view(difference, (side, side))[::side, ::side]
    whole = sliding_window_view(valid, (side, side))[::side, ::side].all(axis=(2, 3))
    chosen = windows[whole] if np.count_nonzero(whole) > COMPONENTS else windows
    return chosen.reshape(-1, side * side)
