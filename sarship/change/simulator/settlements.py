"""Where people live and farm: villages on dry level ground near water, fields round them, roads between them."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sarship.change.simulator.cells import roads
from sarship.change.simulator.noise import smooth_field
from sarship.change.simulator.terrain import PIXEL_M, Terrain

# All estimates, so that cut-outs of 640 m mostly have forest and often some open land.
KM2_PER_VILLAGE = 7
CLOSEST_VILLAGES_M = 1_100
FIELD_SHARE, BUILT_UP_SHARE = 0.11, 0.018  # the first unless asked for otherwise
FIELD_REACH_M = 650
STEEPEST_FIELD = 0.12  # rise over run
SMALLEST_FIELD_PX = 80
PLANNING = 4  # villages and roads are planned on a grid of 40 m
POWER_LINE_M = 40
WATER_COST, SLOPE_COST = 60, 40


@dataclass(frozen=True)
class Settlements:
    """centres: row and column of each village, pixels. angles_deg: direction of its fields and streets.

    fields, built_up, clearing (roads and power lines): (rows, cols) bool. nearest: (rows, cols) int32, the number of
    the village.
    """

    centres: list[tuple[float, float]]
    angles_deg: list[float]
    fields: np.ndarray
    built_up: np.ndarray
    clearing: np.ndarray
    nearest: np.ndarray


def settle(terrain: Terrain, rng: np.random.Generator, field_share: float = FIELD_SHARE) -> Settlements:
    """Villages, fields and roads of a terrain. field_share: what is wanted of it, as far as ground is dry and level."""
    shape = terrain.water.shape
    slope = _slope(terrain.elevation_m)
    centres = _village_centres(terrain, slope, rng)
    angles = [float(rng.uniform(0, 180)) for _ in centres]
    distance, nearest = _distances(shape, centres)
    usable = ~terrain.water & (slope < STEEPEST_FIELD)
    wish = -distance / FIELD_REACH_M - 5 * slope + 0.02 * terrain.hollow_m + 0.6 * smooth_field(shape, 14, rng)
    fields = _tidy(_best(np.where(usable, wish - 0.3 * terrain.flats, -np.inf), field_share))
    ways = _ways(terrain.water, slope, centres, rng)
    off_road = ndimage.distance_transform_edt(~ways).astype(np.float32) * PIXEL_M
    closeness = -distance / 220 - off_road / 60 + 0.5 * smooth_field(shape, 6, rng)
    built_up = _best(np.where(usable, closeness, -np.inf), BUILT_UP_SHARE)
    clearing = ways | _power_line(shape, rng)
    return Settlements(centres, angles, fields & ~built_up, built_up, clearing & ~terrain.water, nearest)


def _slope(elevation_m: np.ndarray) -> np.ndarray:
    down, right = np.gradient(ndimage.gaussian_filter(elevation_m, 2), PIXEL_M)
    return np.hypot(down, right)


def _village_centres(terrain: Terrain, slope: np.ndarray, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Places as good as any and not too close to one another; the best first."""
    step = np.s_[PLANNING // 2 :: PLANNING, PLANNING // 2 :: PLANNING]
    shore_m = ndimage.distance_transform_edt(~terrain.water[step]) * PLANNING * PIXEL_M
    worth = -12 * slope[step] - shore_m / 1_500 + rng.normal(0, 0.4, shore_m.shape)
    worth[terrain.water[step] | terrain.flats[step]] = -np.inf
    area_km2 = terrain.water.size * (PIXEL_M / 1_000) ** 2
    rows, cols = np.indices(worth.shape)
    centres = []
    for _ in range(max(1, round(area_km2 / KM2_PER_VILLAGE))):
        row, col = np.unravel_index(np.argmax(worth), worth.shape)
        if np.isneginf(worth[row, col]):
            break
        centres.append((float(row * PLANNING), float(col * PLANNING)))
        worth[np.hypot(rows - row, cols - col) * PLANNING * PIXEL_M < CLOSEST_VILLAGES_M] = -np.inf
    return centres or [(worth.shape[0] * PLANNING / 2, worth.shape[1] * PLANNING / 2)]


def _distances(shape: tuple[int, int], centres: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Metres to the nearest village, (rows, cols) float32, and its number, int32."""
    number = np.full(shape, -1, np.int32)
    number[tuple(np.array(centres, int).T)] = np.arange(len(centres))
    pixels, (rows, cols) = ndimage.distance_transform_edt(number < 0, return_indices=True)
    return pixels.astype(np.float32) * PIXEL_M, number[rows, cols]


def _best(wish: np.ndarray, share: float) -> np.ndarray:
    """The `share` of all pixels where the wish is greatest; those of -inf never."""
    return (wish > np.quantile(wish, 1 - share)) & ~np.isneginf(wish)


def _tidy(fields: np.ndarray) -> np.ndarray:
    """Without holes, spurs and pieces that no tractor would turn on."""
    fields &= ndimage.binary_opening(fields, iterations=2)
    labels, count = ndimage.label(fields)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    return fields & (sizes >= SMALLEST_FIELD_PX)[labels]


def _ways(
    water: np.ndarray, slope: np.ndarray, centres: list[tuple[float, float]], rng: np.random.Generator
) -> np.ndarray:
    """Roads, one pixel wide, that bend as the smoothed cheapest ways do."""
    step = np.s_[PLANNING // 2 :: PLANNING, PLANNING // 2 :: PLANNING]
    cost = 1 + SLOPE_COST * slope[step] + WATER_COST * water[step] + rng.random(water[step].shape)
    stops = [(int(row) // PLANNING, int(col) // PLANNING) for row, col in centres]
    ways = np.zeros(water.shape, bool)
    for cells in roads(cost, stops, rng):
        bends = ndimage.gaussian_filter1d(cells.astype(float), 1.5, axis=0, mode="nearest") * PLANNING + PLANNING // 2
        steps = np.arange(0, len(bends) - 1, 0.5 / PLANNING)  # half a pixel
        line = [np.interp(steps, np.arange(len(bends)), axis).astype(int) for axis in bends.T]
        ways[tuple(np.clip(axis, 0, length - 1) for axis, length in zip(line, water.shape, strict=True))] = True
    return ways


def _power_line(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    turn = rng.uniform(0, np.pi)
    through = [rng.uniform(0.2, 0.8) * length for length in shape]
    down = np.arange(shape[0], dtype=np.float32)[:, None] - np.float32(through[0])
    right = np.arange(shape[1], dtype=np.float32)[None, :] - np.float32(through[1])
    return np.abs(right * np.sin(turn) + down * np.cos(turn)) * PIXEL_M < POWER_LINE_M / 2
