"""The physics of the simulator that later studies rest on: vessels, sea, sensors and how they make a chip."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from sarship import simulator
from sarship.simulator import FUSAR, GRD, KINDS, SLC, View, draw_vessel, imaging, render_chip, sigma0_of
from sarship.simulator import sea as sea_model

pytestmark = pytest.mark.usefixtures("one_thread")
CALM = {"wind_mps": 6.0, "wind_direction_deg": 30.0, "incidence_deg": 38.0}


@pytest.fixture(scope="module")
def one_thread():
    """As simulate_archives does: threads of linear algebra only wait for one another on matrices as small as these."""
    with threadpool_limits(limits=1):
        yield


def kind(name: str):
    return next(kind for kind in KINDS if kind.elaborated_type == name)


def vessel(name: str, length_m: float, seed: int = 0):
    drawn = draw_vessel(kind(name), 413_000_001, np.random.default_rng(seed))
    return replace(drawn, length_m=length_m, beam_m=length_m / kind(name).length_to_beam, rcs_offset_db=0.0)


def view(polarizations=("VV",), heading_deg=50.0, order=1000.0, **changes) -> View:
    return View(heading_deg, polarizations=polarizations, clutter_order=order, **CALM | changes)


def empty_sea(sensor, order, side=256, seed=0) -> np.ndarray:
    """Complex looks of a chip whose ship is a speck: (looks, rows, cols)."""
    speck = replace(vessel("Fishing", 24), length_m=0.01, beam_m=0.01)
    return render_chip(speck, sensor, view(order=order), side, np.random.default_rng(seed))[0]


# ---- vessels


@pytest.mark.parametrize("each", KINDS, ids=lambda each: each.elaborated_type)
def test_dimensions_follow_the_quantiles_of_their_kind(each):
    rng = np.random.default_rng(0)
    drawn = [draw_vessel(each, 413_000_000, rng) for _ in range(600)]
    lengths_m = [vessel.length_m for vessel in drawn]
    assert np.quantile(lengths_m, 0.5) == pytest.approx(each.length_m[1], rel=0.1)
    assert np.mean(np.less(lengths_m, each.length_m[0])) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.greater(lengths_m, each.length_m[2])) == pytest.approx(0.05, abs=0.03)
    ratios = [vessel.length_m / vessel.beam_m for vessel in drawn]
    assert np.median(ratios) == pytest.approx(each.length_to_beam, rel=0.02)


@given(number=st.integers(0, len(KINDS) - 1), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_scatterers_stand_on_their_vessel(number, seed):
    drawn = draw_vessel(KINDS[number], 413_000_000, np.random.default_rng(seed))
    places, shares = drawn.scatterers
    assert shares.sum() == pytest.approx(1)
    assert shares.min() > 0
    assert np.abs(places[:, 0]).max() <= drawn.length_m / 2
    assert np.abs(places[:, 1]).max() <= drawn.beam_m / 2
    assert places[:, 2].min() > 0
    assert places[:, 2].max() < 0.2 * drawn.length_m + 25


def mean_share(name: str, length_m: float, chosen) -> float:
    """Part of the scatterers' power where `chosen` (fractions of length and beam -> bool) holds, over 40 vessels."""
    parts = []
    for seed in range(40):
        ship = vessel(name, length_m, seed)
        places, shares = ship.scatterers
        parts.append(shares[chosen(places[:, 0] / ship.length_m, places[:, 1] / ship.beam_m)].sum())
    return float(np.mean(parts))


def test_bridge_aft_on_merchant_ships_and_not_on_fishing_vessels():
    def aft(along, _across):
        return along < -0.3

    for name in ("Bulk Carrier", "General Cargo", "Crude Oil Tanker", "LPG Tanker", "Container Ship"):
        assert 0.25 < mean_share(name, 180, aft) < 0.6
    assert mean_share("Fishing", 36, aft) < 0.25


def test_tankers_have_pipe_rack_and_manifold_and_bulk_carriers_have_hatches():
    def centre_line(along, across):
        return (np.abs(across) < 0.08) & (along > -0.3)

    def amidships(along, across):
        return (np.abs(along) < 0.03) & (np.abs(across) > 0.08)

    def hatch_edges(along, across):
        return (np.abs(across) > 0.15) & (np.abs(across) < 0.3) & (np.abs(along) < 0.42)

    assert mean_share("Crude Oil Tanker", 240, centre_line) > 2 * mean_share("Bulk Carrier", 240, centre_line)
    assert mean_share("Crude Oil Tanker", 240, amidships) > 2 * mean_share("Bulk Carrier", 240, amidships)
    assert mean_share("Bulk Carrier", 240, hatch_edges) > 2 * mean_share("Crude Oil Tanker", 240, hatch_edges)


def test_containers_stand_over_the_whole_beam():
    def outboard(along, across):
        return (np.abs(across) > 0.3) & (np.abs(along) < 0.42)

    assert mean_share("Container Ship", 240, outboard) > 2 * mean_share("Bulk Carrier", 240, outboard)


# ---- the sea


@given(wind=st.floats(2, 15), incidence=st.floats(25, 48))
@settings(max_examples=60, deadline=None)
def test_sea_backscatter_orders(wind, incidence):
    upwind, crosswind, downwind = (sea_model.sigma0_vv(wind, angle, incidence) for angle in (0, 90, 180))
    assert crosswind < downwind
    assert crosswind < upwind
    assert sea_model.sigma0_vv(wind + 1, 0, incidence) > upwind
    assert sea_model.sigma0_vv(wind, 0, incidence + 2) < upwind
    assert sea_model.sigma0_hh(wind, 0, incidence) < upwind
    assert sea_model.sigma0_cross(wind) < crosswind / 2


def test_sea_backscatter_level():
    # CMOD5.N at 40 degrees and 10 m/s lies near -13 dB upwind and 4 to 6 dB lower across the wind (Hersbach 2008).
    upwind, crosswind = (10 * np.log10(sea_model.sigma0_vv(10, angle, 40)) for angle in (0, 90))
    assert upwind == pytest.approx(-13, abs=1)
    assert 4 < upwind - crosswind < 6


@pytest.mark.parametrize("order", [3.0, 8.0, 60.0])
def test_texture_is_gamma_of_mean_one(order):
    rng = np.random.default_rng(0)
    values = np.concatenate([sea_model.texture((200, 200), (4, 4), order, rng).ravel() for _ in range(8)])
    assert values.mean() == pytest.approx(1, abs=0.03)
    assert values.var() == pytest.approx(1 / order, rel=0.12)


@pytest.mark.parametrize(("sensor", "looks"), [(FUSAR, 1), (SLC, 1), (GRD, 4.4)])
def test_speckle_has_the_looks_of_the_sensor(sensor, looks):
    intensity = sigma0_of(empty_sea(sensor, order=1e4)[None], sensor)[0]
    assert intensity.mean() ** 2 / intensity.var() == pytest.approx(looks, rel=0.1)


def test_sea_level_is_model_plus_noise():
    for sensor in (FUSAR, GRD, SLC):
        level = sea_model.sigma0_vv(CALM["wind_mps"], CALM["wind_direction_deg"], CALM["incidence_deg"])
        expected = level + 10 ** (sensor.noise_db / 10)
        assert sigma0_of(empty_sea(sensor, order=1e4)[None], sensor).mean() == pytest.approx(expected, rel=0.06)


def test_clutter_is_heavier_than_rayleigh_by_its_order():
    variations = []
    for order in (1e4, 8.0, 2.5):
        amplitude = np.abs(np.concatenate([empty_sea(FUSAR, order, seed=seed) for seed in range(3)]))
        variations.append(amplitude.std() / amplitude.mean())
    assert variations[0] == pytest.approx(0.523, abs=0.015)  # Rayleigh: sqrt(4 / pi - 1)
    assert variations[0] + 0.01 < variations[1] < variations[2] - 0.02


@pytest.mark.parametrize(("sensor", "rows", "cols"), [(FUSAR, 0.57, 0.58), (GRD, 0.62, 0.57), (SLC, 0.38, 0.28)])
def test_neighbouring_pixels_correlate_as_resolution_and_spacing_say(sensor, rows, cols):
    amplitude = np.sqrt(sigma0_of(empty_sea(sensor, order=1e4)[None], sensor)[0])
    assert np.corrcoef(amplitude[:-1].ravel(), amplitude[1:].ravel())[0, 1] == pytest.approx(rows, abs=0.06)
    assert np.corrcoef(amplitude[:, :-1].ravel(), amplitude[:, 1:].ravel())[0, 1] == pytest.approx(cols, abs=0.06)


# ---- sensors and imaging


@pytest.mark.parametrize(("sensor", "highest_db"), [(FUSAR, -22.0), (GRD, -21.0), (SLC, -21.0)])
def test_point_has_its_resolution_and_side_lobes(sensor, highest_db):
    size, zoom = 256, 16
    transfer = np.fft.fftshift(sensor.transfer(size))
    assert np.mean(transfer**2) == pytest.approx(1, rel=1e-3)
    padded = np.pad(transfer.sum(axis=1), size * (zoom - 1) // 2)  # along azimuth
    power = np.abs(np.fft.ifft(np.fft.ifftshift(padded))) ** 2
    power_db = 10 * np.log10(power[: len(power) // 2] / power[0] + 1e-12)
    width_px = 2 * np.argmax(power_db < -3.01) / zoom
    assert width_px == pytest.approx(sensor.row_resolution_m / sensor.row_spacing_m, rel=0.08)
    first_zero = np.argmax(np.diff(power_db) > 0)
    assert -30 < power_db[first_zero:].max() < highest_db


def test_tilt_turns_both_arms_of_side_lobes_alike():
    point = np.abs(np.fft.fftshift(np.fft.ifft2(FUSAR.transfer(512, 9.0))))
    for distance in (100, 200):
        steep, flat = np.argmax(point[256 + distance]) - 256, np.argmax(point[:, 256 + distance]) - 256
        assert steep == pytest.approx(distance * np.tan(np.radians(9)), abs=2)
        assert flat == pytest.approx(-steep, abs=2)


def moments_m(ship, sensor, heading_deg, seed, side) -> tuple[float, float]:
    """Root-mean-square extent in metres of the bright part of a chip, and the angle of its axis from the rows' axis."""
    seen = view(heading_deg=heading_deg, wind_mps=3.0)
    rng = np.random.default_rng(seed)
    image = sum(sigma0_of(render_chip(ship, sensor, seen, side, rng), sensor)[0] for _ in range(3))
    weight = np.where(image > 0.02 * image.max(), image**0.25, 0)  # bright or half bright, a corner counts as a part
    rows, cols = np.indices(image.shape) - (side - 1) / 2
    azimuth_m = rows * sensor.row_spacing_m
    range_m = cols * sensor.ground_col_spacing_m(seen.incidence_deg)
    covariance = np.cov(np.stack([azimuth_m.ravel(), range_m.ravel()]), aweights=weight.ravel())
    values, vectors = np.linalg.eigh(covariance)
    return np.sqrt(values[1]), np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1]))


@given(
    name=st.sampled_from(["Bulk Carrier", "Container Ship", "Crude Oil Tanker", "General Cargo"]),
    heading_deg=st.floats(0, 360),
    seed=st.integers(0, 1000),
    sensor=st.sampled_from([FUSAR, GRD]),
)
@settings(max_examples=15, deadline=None)
def test_the_bright_part_grows_with_the_vessel(name, heading_deg, seed, sensor):
    side = 256 if sensor is FUSAR else 101
    extents = [
        moments_m(vessel(name, length_m, seed), sensor, heading_deg, seed, side)[0] for length_m in (70, 140, 280)
    ]
    assert extents[0] < extents[1] < extents[2]


@pytest.mark.parametrize("heading_deg", [20, 75, 130, 160, 300])
@pytest.mark.parametrize("sensor", [FUSAR, GRD, SLC])
def test_the_axis_of_the_echo_is_the_heading(sensor, heading_deg):
    side = {"UFS": 256, "GRD": 101, "SLC": 181}[sensor.product]
    off_deg = [
        (moments_m(vessel("Container Ship", 240, seed), sensor, heading_deg, seed, side)[1] - heading_deg + 90) % 180
        - 90
        for seed in range(4)
    ]
    assert abs(np.median(off_deg)) < 12


@pytest.mark.parametrize("sensor", [FUSAR, GRD, SLC])
def test_integrated_echo_is_the_mean_cross_section_of_its_length(sensor):
    echoes = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        seen = view(heading_deg=rng.uniform(0, 360), wind_mps=2.0)
        image = sigma0_of(render_chip(vessel("General Cargo", 120, seed), sensor, seen, 181, rng), sensor)[0]
        level = sea_model.sigma0_vv(2.0, seen.wind_direction_deg, seen.incidence_deg) + 10 ** (sensor.noise_db / 10)
        echoes.append((image - level).sum() * sensor.pixel_area_m2(seen.incidence_deg))
    expected_m2 = simulator.mean_rcs_m2(120, CALM["incidence_deg"])
    assert np.median(10 * np.log10(echoes)) == pytest.approx(10 * np.log10(expected_m2), abs=1.5)


def test_cross_polarized_echo_is_weaker():
    chip = render_chip(vessel("Bulk Carrier", 190), GRD, view(("VH", "VV")), 101, np.random.default_rng(0))
    cross, like = (band[35:66, 35:66].sum() for band in sigma0_of(chip, GRD))
    assert 6 < 10 * np.log10(like / cross) < 13


def test_raised_scatterers_lean_towards_the_radar():
    """Layover: at steep incidence the echo's centre moves to lower columns, where the radar is."""
    centres = []
    for incidence_deg in (25.0, 60.0):
        places = [vessel("Container Ship", 240, seed).scatterers for seed in range(5)]
        cols = [
            imaging._to_pixels(place, FUSAR, view(heading_deg=0.0, incidence_deg=incidence_deg), 256)[1]
            for place, _ in places
        ]
        centres.append(np.mean([np.mean(col) for col in cols]))
    assert centres[0] < centres[1] - 5
    assert centres[1] < 127.5
