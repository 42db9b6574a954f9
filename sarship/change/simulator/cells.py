"""How land is divided: forest compartments, parcels of fields, roads. Labels are integers that name no order."""

import numpy as np
from skimage.graph import route_through_array

from sarship.change.simulator.noise import smooth_field


def compartments(where: np.ndarray, spacing_px: float, warp_px: float, rng: np.random.Generator) -> np.ndarray:
    """Cells round random points about `spacing_px` apart; their borders waver by `warp_px`.

    where: (rows, cols) bool, n of them set. Returns the cell of each of these, (n,) int32.
    """
    # In units of the spacing, with room for the points beyond each border.
    points = rng.random((2, *(int(np.ceil(length / spacing_px)) + 6 for length in where.shape)), dtype=np.float32)
    places = []
    for axis in np.nonzero(where):
        warp = smooth_field(where.shape, max(1.0, 0.4 * spacing_px), rng)[where]
        places.append((axis.astype(np.float32) + np.float32(warp_px) * warp) / np.float32(spacing_px) + 3)
    row_limit, col_limit = points.shape[1] - 2, points.shape[2] - 2
    first_row = np.clip(places[0].astype(np.int32), 1, row_limit)
    first_col = np.clip(places[1].astype(np.int32), 1, col_limit)
    nearest, labels = np.full(len(first_row), np.inf, np.float32), np.zeros(len(first_row), np.int32)
    for row_step, col_step in np.ndindex(3, 3):
        row, col = first_row + (row_step - 1), first_col + (col_step - 1)
        distance = (row + points[0, row, col] - places[0]) ** 2 + (col + points[1, row, col] - places[1]) ** 2
        closer = distance < nearest
        nearest[closer] = distance[closer]
        labels[closer] = (row * points.shape[2] + col)[closer]
    return labels


def parcels(shape: tuple[int, int], width_px: float, angle_deg: float, rng: np.random.Generator) -> np.ndarray:
    """Rectangles that share a direction, (rows, cols) int32 below 2^24: strips of `width_px`, cut at random lengths."""
    turn = np.radians(angle_deg)
    down = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(shape[0] / 2)
    right = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(shape[1] / 2)
    reach = int(np.hypot(*shape) / width_px) + 2
    strip = np.floor((right * np.sin(turn) + down * np.cos(turn)) / width_px).astype(np.int32) + reach
    lengths = rng.uniform(1.5, 3.5, 2 * reach + 1).astype(np.float32) * np.float32(width_px)
    offsets = rng.uniform(0, 100, 2 * reach + 1).astype(np.float32)
    block = np.floor((right * np.cos(turn) - down * np.sin(turn)) / lengths[strip] + offsets[strip]).astype(np.int32)
    return strip * 4096 + block % 4096


def roads(cost: np.ndarray, stops: list[tuple[int, int]], rng: np.random.Generator) -> list[np.ndarray]:
    """The cheapest ways from each place to its next two, and on over two borders: (steps, 2) cells of each.

    cost: (rows, cols) of a step; stops: row and column of each place.
    """
    ways = set()
    for index, stop in enumerate(stops):
        near = sorted(range(len(stops)), key=lambda other: np.hypot(*np.subtract(stops[other], stop)))
        ways |= {(min(index, other), max(index, other)) for other in near[1:3]}
    borders = [(0, int(rng.integers(cost.shape[1]))), (int(rng.integers(cost.shape[0])), cost.shape[1] - 1)]
    routes = [(stops[first], stops[second]) for first, second in sorted(ways)]
    routes += list(zip(stops, borders, strict=False))
    return [np.array(route_through_array(cost, start, end)[0]) for start, end in routes]
