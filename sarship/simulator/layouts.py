"""Where the scatterers of each kind of vessel stand: general arrangement plans, reduced to groups of points.

A layout is a function of length and beam (metres) that returns groups; each group has places (n, 3), metres forward of
midships, to port and above the water, and its share of the vessel's mean radar cross-section. Shares are judgements
from where high-resolution images of such ships are bright (Gaofen-3 and TerraSAR-X: bridge, hatch coamings, cranes,
manifold and pipe rack), not measurements.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Group(NamedTuple):
    """Scatterers of one part of a vessel: places (n, 3) in metres, and their share of the whole."""

    places: np.ndarray
    share: float


Layout = Callable[[float, float, np.random.Generator], list[Group]]


def _box(rng, count, along_m, across_m, height_m) -> np.ndarray:
    """`count` points spread evenly in a box, each side of it (low, high)."""
    low, high = np.array([along_m, across_m, height_m], dtype=float).T
    return rng.uniform(low, high, size=(count, 3))


def _stack(rng, count, along_m, across_m, height_m) -> np.ndarray:
    """As _box, but denser towards its foot: corners of wall and deck echo from where wall meets deck."""
    points = _box(rng, count, along_m, across_m, (0, 1))
    points[:, 2] = height_m[0] + (height_m[1] - height_m[0]) * points[:, 2] ** 3
    return points


def _row(count, along_m, across_m, height_m) -> np.ndarray:
    """`count` points at equal distances on the straight line between two points, each coordinate (from, to)."""
    ends = np.array([along_m, across_m, height_m], dtype=float).T
    return np.linspace(ends[0], ends[1], count)


def _deck_height_m(length_m: float) -> float:
    # Freeboard of the load-line tables (ICLL 1966, regulation 28): 0.8 m at 80 m, 2.6 m at 190 m, 5 m at 330 m, and
    # ships are seldom at full draught; about 2 % of the length.
    return 1.0 + 0.02 * length_m


def _bridge(length_m, beam_m, rng, share, place=(-0.44, -0.37)) -> Group:
    """Accommodation and bridge: walls and decks that meet at right angles, from deck to top, over the whole beam."""
    deck = _deck_height_m(length_m)
    # Bridge visibility (SOLAS V/22: 500 m or two lengths ahead of the bow) makes it grow with length.
    top = deck + 6 + 0.08 * length_m
    along = (place[0] * length_m, place[1] * length_m)
    count = 12 + int(length_m / 8)
    return Group(_stack(rng, count, along, (-0.45 * beam_m, 0.45 * beam_m), (deck, top)), share)


def _bow(length_m, beam_m, rng, share) -> Group:
    """Forecastle: windlasses, bulwark and foremast, where the hull narrows."""
    deck = _deck_height_m(length_m) + 2
    return Group(
        _box(rng, 8, (0.43 * length_m, 0.49 * length_m), (-0.2 * beam_m, 0.2 * beam_m), (deck, deck + 4)), share
    )


def _hatches(length_m, beam_m, holds, from_part, to_part, share) -> Group:
    """Hatch coamings: each a rectangle of corners of coaming and deck, the transverse sides 5 m apart between holds."""
    deck = _deck_height_m(length_m)
    ends = np.linspace(from_part * length_m, to_part * length_m, holds + 1)
    half = 0.28 * beam_m
    across = max(4, int(beam_m / 3))
    rows = []
    for aft, fore in itertools.pairwise(ends):
        aft, fore = aft + 2.5, fore - 2.5
        rows += [_row(across, (x, x), (-half, half), (deck, deck)) for x in (aft, fore)]
        rows += [_row(max(3, int((fore - aft) / 5)), (aft, fore), (y, y), (deck, deck)) for y in (-half, half)]
    return Group(np.concatenate(rows), share)


def _cranes(length_m, beam_m, rng, along_m, share) -> Group:
    """Deck cranes or derrick posts on the centre line: a pedestal, and a jib laid fore and aft above the hatches."""
    deck = _deck_height_m(length_m)
    top = deck + 8 + 0.04 * length_m
    pedestals = [_stack(rng, 4, (x - 1.5, x + 1.5), (-0.06 * beam_m, 0.06 * beam_m), (deck, top)) for x in along_m]
    jibs = [_row(4, (x, x + 0.08 * length_m), (0, 0), (top, top - 2)) for x in along_m]
    return Group(np.concatenate(pedestals + jibs), share)


def bulk_carrier(length_m: float, beam_m: float, rng: np.random.Generator) -> list[Group]:
    """Five to nine holds forward of the bridge; cranes between them up to 200 m (Supramax), none above (Capesize)."""
    holds = int(np.clip(round(length_m / 32), 3, 9))
    groups = [
        _bridge(length_m, beam_m, rng, share=0.36),
        _hatches(length_m, beam_m, holds, -0.34, 0.42, share=0.44),
        _bow(length_m, beam_m, rng, share=0.06),
    ]
    if length_m < 200:
        between = np.linspace(-0.34 * length_m, 0.42 * length_m, holds + 1)[1:-1]
        groups.append(_cranes(length_m, beam_m, rng, between, share=0.14))
    return groups


def container_ship(length_m: float, beam_m: float, rng: np.random.Generator) -> list[Group]:
    """Bays of containers over the whole beam, 14 m apart (a 40-foot box and its lashing bridge); bridge well aft."""
    deck = _deck_height_m(length_m)
    bays = np.arange(-0.28 * length_m, 0.42 * length_m, 14.0)
    tiers_m = 2.6 * rng.integers(2, 4 + int(length_m / 90), size=len(bays))  # 2.6 m: height of a container
    across = max(4, int(beam_m / 2.5))  # a container is 2.44 m broad
    faces = [
        _row(across, (x, x), (-0.47 * beam_m, 0.47 * beam_m), (deck, deck + tier))
        for x, tier in zip(bays, tiers_m, strict=True)
    ]
    tops = [
        _box(rng, 4, (x, x + 12), (-0.47 * beam_m, 0.47 * beam_m), (deck + t, deck + t))
        for x, t in zip(bays, tiers_m, strict=True)
    ]
    return [
        Group(np.concatenate(faces), 0.46),
        Group(np.concatenate(tops), 0.14),
        _bridge(length_m, beam_m, rng, share=0.34, place=(-0.37, -0.31)),
        _bow(length_m, beam_m, rng, share=0.06),
    ]


def general_cargo(length_m: float, beam_m: float, rng: np.random.Generator) -> list[Group]:
    """Two or three long holds, derricks on the larger ones, bridge right aft."""
    holds = 2 if length_m < 100 else 3
    groups = [
        _bridge(length_m, beam_m, rng, share=0.42, place=(-0.46, -0.36)),
        _hatches(length_m, beam_m, holds, -0.32, 0.40, share=0.34),
        _bow(length_m, beam_m, rng, share=0.08),
    ]
    if length_m > 85:
        between = np.linspace(-0.32 * length_m, 0.40 * length_m, holds + 1)[1:-1]
        groups.append(_cranes(length_m, beam_m, rng, between, share=0.16))
    return groups


def oil_tanker(length_m: float, beam_m: float, rng: np.random.Generator) -> list[Group]:
    """Pipe rack along the centre line, manifold from side to side amidships with a hose crane on each; bridge aft."""
    deck = _deck_height_m(length_m)
    # Supports of pipe rack and catwalk stand about every 6 m.
    rack = _row(max(8, int(0.72 * length_m / 6)), (-0.33 * length_m, 0.39 * length_m), (0, 0), (deck + 1.5, deck + 1.5))
    rack[:, 1] += rng.uniform(-0.04, 0.04, len(rack)) * beam_m
    manifold = _row(max(6, int(beam_m / 2)), (0, 0), (-0.4 * beam_m, 0.4 * beam_m), (deck + 1.5, deck + 1.5))
    manifold[:, 0] += rng.uniform(-0.015, 0.015, len(manifold)) * length_m
    cranes = _stack(rng, 6, (-0.02 * length_m, 0.02 * length_m), (-0.2 * beam_m, 0.2 * beam_m), (deck, deck + 12))
    return [
        _bridge(length_m, beam_m, rng, share=0.42),
        Group(rack, 0.26),
        Group(manifold, 0.16),
        Group(cranes, 0.10),
        _bow(length_m, beam_m, rng, share=0.06),
    ]


def gas_tanker(length_m: float, beam_m: float, rng: np.random.Generator) -> list[Group]:
    """Three or four tank domes on the centre line joined by pipes, compressor house amidships, bridge aft."""
    deck = _deck_height_m(length_m)
    domes = np.linspace(-0.24 * length_m, 0.32 * length_m, 3 if length_m < 120 else 4)
    points = [_box(rng, 8, (x - 3, x + 3), (-0.12 * beam_m, 0.12 * beam_m), (deck, deck + 5)) for x in domes]
    pipes = _row(max(6, int(0.6 * length_m / 8)), (-0.3 * length_m, 0.36 * length_m), (0, 0), (deck + 2, deck + 2))
    house = _stack(rng, 8, (-0.03 * length_m, 0.04 * length_m), (-0.3 * beam_m, 0.3 * beam_m), (deck, deck + 6))
    return [
        _bridge(length_m, beam_m, rng, share=0.42),
        Group(np.concatenate(points), 0.24),
        Group(pipes, 0.14),
        Group(house, 0.14),
        _bow(length_m, beam_m, rng, share=0.06),
    ]


def fishing_vessel(length_m: float, beam_m: float, rng: np.random.Generator) -> list[Group]:
    """Wheelhouse and mast forward of midships, gear (winches, net drum, gallows) on the working deck aft."""
    house = _stack(rng, 8, (0.05 * length_m, 0.25 * length_m), (-0.35 * beam_m, 0.35 * beam_m), (2, 7))
    mast = _stack(rng, 3, (0.1 * length_m, 0.14 * length_m), (-0.05 * beam_m, 0.05 * beam_m), (5, 12))
    gear = _box(rng, 7, (-0.45 * length_m, -0.05 * length_m), (-0.4 * beam_m, 0.4 * beam_m), (1.5, 5))
    return [Group(house, 0.5), Group(mast, 0.15), Group(gear, 0.35)]


def passenger_ship(length_m: float, beam_m: float, rng: np.random.Generator) -> list[Group]:
    """Superstructure over most of the length: balconies, boats and windows all along."""
    deck = _deck_height_m(length_m)
    sides = _box(
        rng,
        20 + int(length_m / 2),
        (-0.42 * length_m, 0.38 * length_m),
        (-0.46 * beam_m, 0.46 * beam_m),
        (deck, deck + 12),
    )
    return [Group(sides, 0.92), _bow(length_m, beam_m, rng, share=0.08)]
