"""What covers an area: forest stands, fields, bogs, lakes and villages, laid on the terrain where they belong.

Everything that keeps its place lies in patches (a stand, a field, a lake): what happens to the land under some weather
is worked out once a patch, and what differs within a patch is a texture that stays.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sarship.change.cover import BOG, BUILT_UP, FIELD, FOREST, WATER
from sarship.change.simulator.cells import compartments, parcels
from sarship.change.simulator.noise import smooth_field
from sarship.change.simulator.patches import Patches, draw_patches
from sarship.change.simulator.settlements import FIELD_SHARE, Settlements, settle
from sarship.change.simulator.terrain import PIXEL_M, Terrain, make_terrain

# Size of compartments and how far their borders waver, metres. Those of forests in Finland have 1 to 3 ha.
COMPARTMENTS_M = {FOREST: (150, 18), BOG: (220, 30), BUILT_UP: (90, 0)}
FIELD_WIDTH_M = (80, 150)
# How much pixels of a patch differ, dB, and over which distance, pixels: estimates. Trees and gaps, strings and
# hollows of bogs; tilled soil is even.
TEXTURE_DB = {FOREST: (0.8, 1.0), FIELD: (0.35, 1.2), BOG: (0.9, 1.6), BUILT_UP: (1.5, 1.0)}
SHARED_TEXTURE = 2 / 3  # of the variance, between VV and VH
CANOPY_SPREAD = 0.06  # of a stand's height, from pixel to pixel
EDGE_PX = 0.7  # crowns and young trees round off the border of a stand: estimate
HOUSE_SHARE = 0.10  # of built-up pixels


@dataclass(frozen=True)
class Land:
    """An area. All maps are (rows, cols), the first row the northernmost, PIXEL_M metres a pixel.

    elevation_m: float32 of the ground. cover: uint8, codes of sarship.change.cover. patch: int32, places in `patches`.
    canopy_m: float32, height of trees, 0 elsewhere. texture: (2, rows, cols) float32, linear, VV and VH.
    house: flat indices of pixels with a wall that stands out; house_gain: its echo, times that of the pixel, where it
    faces the radar; house_angle_deg: where it faces.
    """

    elevation_m: np.ndarray
    cover: np.ndarray
    patch: np.ndarray
    patches: Patches
    canopy_m: np.ndarray
    texture: np.ndarray
    house: np.ndarray
    house_gain: np.ndarray
    house_angle_deg: np.ndarray


def make_land(size: int, seed: np.random.SeedSequence, field_share: float = FIELD_SHARE) -> Land:
    """A land of (size, size) pixels; the same seed gives the same bits. field_share: see `settlements.settle`."""
    # Streams of their own: another way to draw one thing leaves the others as they are.
    streams = [np.random.default_rng(each) for each in seed.spawn(6)]
    terrain = make_terrain(size, streams[0])
    settlements = settle(terrain, streams[1], field_share)
    cover = _cover(terrain, settlements)
    patch, covers, cleared = _patches(cover, settlements, streams[2])
    patches = draw_patches(covers, cleared, patch, terrain.elevation_m, streams[3])
    spread = 1 + np.float32(CANOPY_SPREAD) * smooth_field(cover.shape, 1.0, streams[4])
    canopy = ndimage.gaussian_filter(patches.height_m[patch], EDGE_PX) * np.maximum(spread, 0)
    canopy[patches.height_m[patch] == 0] = 0
    house, gain, angle = _houses(cover, settlements, streams[5])
    return Land(terrain.elevation_m, cover, patch, patches, canopy, _texture(cover, streams[4]), house, gain, angle)


def _cover(terrain: Terrain, settlements: Settlements) -> np.ndarray:
    cover = np.full(terrain.water.shape, FOREST, np.uint8)
    cover[terrain.flats] = BOG
    cover[settlements.fields] = FIELD
    cover[settlements.built_up] = BUILT_UP
    cover[terrain.water] = WATER
    return cover


def _patches(
    cover: np.ndarray, settlements: Settlements, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The patch of each pixel, (rows, cols) int32; of each patch its cover, (n,) uint8, and whether it was cleared."""
    labels = np.zeros(cover.shape, np.int64)
    for code, (spacing_m, warp_m) in COMPARTMENTS_M.items():
        where = cover == code
        labels[where] = compartments(where, spacing_m / PIXEL_M, warp_m / PIXEL_M, rng)
    labels += ndimage.label(cover == WATER)[0]
    labels += _fields(cover == FIELD, settlements, rng)
    cleared = settlements.clearing & (cover == FOREST)
    found, patch = np.unique(labels * 16 + cover * 2 + cleared, return_inverse=True)
    return patch.reshape(cover.shape).astype(np.int32), (found % 16 // 2).astype(np.uint8), found % 2 == 1


def _fields(is_field: np.ndarray, settlements: Settlements, rng: np.random.Generator) -> np.ndarray:
    """Parcels of every village, (rows, cols) int64; those of a village lie in the direction of its streets."""
    labels = np.zeros(is_field.shape, np.int64)
    owner = np.where(is_field, settlements.nearest + 1, 0)
    for number, box in enumerate(ndimage.find_objects(owner, len(settlements.centres))):
        if box:  # a village may have none
            width_px = rng.uniform(*FIELD_WIDTH_M) / PIXEL_M
            pieces = parcels(owner[box].shape, width_px, settlements.angles_deg[number], rng)
            labels[box] = np.where(owner[box] == number + 1, pieces + (np.int64(number) << 24), labels[box])
    return labels


def _texture(cover: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(2, rows, cols) float32, linear, of mean near 1; VH shares some of it with VV."""
    texture = np.ones((2, *cover.shape), np.float32)
    for code, (spread_db, scale_px) in TEXTURE_DB.items():
        where = cover == code
        shared = smooth_field(cover.shape, scale_px, rng)[where]
        for band in texture:
            own = smooth_field(cover.shape, scale_px, rng)[where]
            band[where] = 10 ** (
                spread_db / 10 * (math.sqrt(SHARED_TEXTURE) * shared + math.sqrt(1 - SHARED_TEXTURE) * own)
            )
    return texture


def _houses(
    cover: np.ndarray, settlements: Settlements, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    built_up = np.flatnonzero(cover == BUILT_UP)
    house = built_up[rng.random(len(built_up)) < HOUSE_SHARE]
    # Echoes of walls and ground spread over orders of magnitude; the median of 6 dB and the spread of 5 are estimates.
    gain = 10 ** (rng.normal(0.6, 0.5, len(house)))
    streets = np.asarray(settlements.angles_deg)[settlements.nearest.ravel()[house]]
    angle = streets + rng.normal(0, 12, len(house))
    return house, gain.astype(np.float32), angle.astype(np.float32)
