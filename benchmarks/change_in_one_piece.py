"""The plain way of predicting a whole area, for change_scene.py: everything in memory, all squares in one batch.

python benchmarks/change_in_one_piece.py AREA MODEL
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sarship.change.predictor import load_predictor
from sarship.change.scene import blending_weights, earlier_of, lattice
from sarship.change.series import read_area
from sarship.device import choose_device


def predicted_in_one_piece(predictor, area, newest, earlier) -> np.ndarray:
    """(2, rows, cols) dB."""
    patch = predictor.patch
    corners = [(row, col) for row in lattice(area.rows, patch) for col in lattice(area.cols, patch)]
    images, elevation = np.stack([area.image(each) for each in earlier]), area.elevation()
    squares = np.stack([images[:, :, row : row + patch, col : col + patch] for row, col in corners])
    heights = np.stack([elevation[row : row + patch, col : col + patch] for row, col in corners])
    predicted = predictor.batch(squares, heights, [[*earlier, newest]] * len(corners))
    total, said = np.zeros((2, area.rows, area.cols)), np.zeros((area.rows, area.cols))
    weights = blending_weights(patch)
    for (row, col), square in zip(corners, predicted, strict=True):
        total[:, row : row + patch, col : col + patch] += weights * square
        said[row : row + patch, col : col + patch] += weights
    return total / said


if __name__ == "__main__":
    area = read_area(Path(sys.argv[1]))
    newest = area.acquisitions[-1]
    predictor = load_predictor(Path(sys.argv[2]), choose_device("cpu", "auto"))
    image = predicted_in_one_piece(predictor, area, newest, earlier_of(area, newest))
    print(newest.file, image.mean())
