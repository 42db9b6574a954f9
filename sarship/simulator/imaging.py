"""One chip: sea, hull and scatterers as complex reflectivity, seen through the processor of the sensor.

The image is the sensor's point-spread function convolved with (sea + hull + noise + scatterers), in one FFT a look: the
whole chip, side lobes and speckle included, passes through the same band, as it does in a SAR processor.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.special

from sarship.simulator import sea
from sarship.simulator.sensors import Sensor
from sarship.simulator.ships import Vessel

RCS_SPREAD_SIGHTING_DB = 2.8  # see RCS_SPREAD_VESSEL_DB in ships.py
# A ship's cross-polarised echo below its co-polarised one: the median over the real dual-pol chips is 9 to 11 dB.
CROSS_POLARIZED_DB = -9.5
# Part of the echo that is no scatterer of the layout: plating all over the hull, and the corner between the side that
# faces the radar and the sea, which is seen only near broadside. Judgements, from where real chips are bright.
HULL_SHARE = 0.12
WATERLINE_SHARE = 0.2
WATERLINE_POINT_SPACING_M = 5.0
# The long waves of the wind sea modulate its clutter: half a peak wavelength of Pierson & Moskowitz, which is
# 0.83 v^2 metres, so 21 m at 5 m/s. The clutter of the real chips correlates no further than that either.
CLUTTER_CELL_M = 10.0
RIM_PX = 8  # of sea beyond the chip: what the main lobe of the point-spread function still brings in
WRAP_PART = 0.22  # of the chip's side, added so that side lobes that leave on one side do not come in on the other
_NORMAL_QUANTILES = scipy.special.ndtri((np.arange(2**16) + 0.5) / 2**16).astype(np.float32)


@dataclass(frozen=True)
class View:
    """How a vessel is seen on one pass.

    heading_deg: of the bow, from the direction of rising rows (azimuth) towards that of rising columns (far range).
    incidence_deg, wind_mps, wind_direction_deg: as in sea.sigma0.
    polarizations: of the bands, e.g. ("VH", "VV").
    clutter_order: of the gamma texture of the sea.
    tilt_deg: of side lobes in the pixel grid.
    offset_m: of midships from the centre of the chip, (azimuth, range).
    """

    heading_deg: float
    incidence_deg: float
    wind_mps: float
    wind_direction_deg: float
    polarizations: tuple[str, ...]
    clutter_order: float
    tilt_deg: float = 0.0
    offset_m: tuple[float, float] = (0.0, 0.0)


def render_chip(vessel: Vessel, sensor: Sensor, view: View, side_px: int, rng: np.random.Generator) -> np.ndarray:
    """A square chip: (polarizations, looks, side_px, side_px) complex64, whose squared magnitude is sigma nought.

    `sigma0_of` makes the detected image of it. Everything random but the vessel itself comes from `rng`.
    Who renders many should do so inside threadpool_limits(1), as simulate_archives does: three times faster.
    """
    region = side_px + 2 * RIM_PX
    size = scipy.fft.next_fast_len(int(side_px * (1 + WRAP_PART)) + 2 * RIM_PX)
    inside = slice(RIM_PX, RIM_PX + side_px)
    texture = sea.texture((region, region), _clutter_cells_px(sensor, view), view.clutter_order, rng)
    hull = _hull_pixels(vessel, sensor, view, region)
    places, rcs_m2 = _echoes(vessel, view, rng)
    footprints = _footprints(*_to_pixels(places, sensor, view, region), size)
    transfer = sensor.transfer(size, view.tilt_deg)

    chip = np.empty((len(view.polarizations), len(sensor.look_weights), side_px, side_px), np.complex64)
    for band, polarization in enumerate(view.polarizations):
        reflectivity = np.zeros((len(sensor.look_weights), size, size), np.complex64)
        spread = _spread(texture, hull, rcs_m2.sum(), polarization, sensor, view)
        reflectivity[:, :region, :region] = np.sqrt(spread / 2) * _white(rng, (len(reflectivity), *spread.shape))
        _add_points(reflectivity, footprints, _ship_level(polarization) * rcs_m2, sensor, view, rng)
        spectrum = scipy.fft.fft2(reflectivity, overwrite_x=True)
        spectrum *= transfer
        chip[band] = scipy.fft.ifft2(spectrum, overwrite_x=True)[:, inside, inside]
    return chip


def _spread(
    texture: np.ndarray,
    hull: tuple[np.ndarray, np.ndarray],
    rcs_m2: float,
    polarization: str,
    sensor: Sensor,
    view: View,
) -> np.ndarray:
    """Mean sigma nought of what is spread out, (region, region): sea, hull plating and noise."""
    level = sea.sigma0(polarization, view.wind_mps, view.wind_direction_deg, view.incidence_deg)
    spread = texture * np.float32(level)
    hull_m2 = max(1, len(hull[0])) * sensor.pixel_area_m2(view.incidence_deg)
    spread[hull] = _ship_level(polarization) * rcs_m2 * HULL_SHARE / (1 - HULL_SHARE) / hull_m2
    spread += np.float32(10 ** (sensor.noise_db / 10))
    return spread


def _ship_level(polarization: str) -> float:
    return 10 ** (CROSS_POLARIZED_DB / 10) if polarization in ("VH", "HV") else 1.0


def _add_points(
    reflectivity: np.ndarray,
    footprints: tuple[np.ndarray, np.ndarray],
    rcs_m2: np.ndarray,
    sensor: Sensor,
    view: View,
    rng: np.random.Generator,
) -> None:
    """Add scatterers (n,) to (looks, size, size) reflectivity: power as on this pass, a phase a look.

    One scatterer of those in a resolution cell dominates: power is gamma of order 2 (Swerling III). Looks lie apart in
    frequency, so the phase of one says nothing of the next.
    """
    indices, weights = footprints
    power = rcs_m2 * rng.gamma(2.0, 0.5, len(rcs_m2)) / sensor.pixel_area_m2(view.incidence_deg)
    for look in reflectivity:
        amplitudes = np.sqrt(power) * np.exp(2j * np.pi * rng.random(len(power)))
        values = (amplitudes[:, None] * weights).astype(np.complex64)
        np.add.at(look.reshape(-1), indices.ravel(), values.ravel())


def sigma0_of(chip: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Mean of looks: (polarizations, looks, rows, cols) complex to (polarizations, rows, cols) float32 sigma nought."""
    intensity = chip.real**2 + chip.imag**2
    return np.tensordot(np.asarray(sensor.look_weights, np.float32), intensity, axes=(0, 1))


def mean_rcs_m2(length_m: float, incidence_deg: float) -> float:
    """Mean radar cross-section of a ship at C band: 0.08 L^(7/3) (0.78 + 0.11 incidence), square metres.

    Vachon et al., Can. J. Remote Sensing 23(1), 1997, from Skolnik's law of displacement. Integrated sigma nought of
    the real OpenSARShip GRD chips agrees to within 0.5 dB (40 dB m2 at 80 m, 48 dB m2 at 190 m).
    """
    return 0.08 * length_m ** (7 / 3) * (0.78 + 0.11 * incidence_deg)


def _echoes(vessel: Vessel, view: View, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Places (n, 3) metres in the ship's frame, and mean radar cross-section (n,) of each scatterer on this pass."""
    level_db = vessel.rcs_offset_db + RCS_SPREAD_SIGHTING_DB * rng.standard_normal()
    total_m2 = mean_rcs_m2(vessel.length_m, view.incidence_deg) * 10 ** (level_db / 10)
    places, shares = vessel.scatterers
    waterline = _waterline(vessel, view)
    broadside = np.cos(np.radians(view.heading_deg)) ** 4
    waterline_shares = rng.dirichlet(np.ones(len(waterline))) * WATERLINE_SHARE * broadside
    shares = np.concatenate([shares * (1 - WATERLINE_SHARE * broadside), waterline_shares])
    return np.concatenate([places, waterline]), total_m2 * (1 - HULL_SHARE) * shares


def _waterline(vessel: Vessel, view: View) -> np.ndarray:
    """Points where the side that faces the radar meets the sea, (n, 3) metres in the ship's frame."""
    along = np.arange(-0.46 * vessel.length_m, 0.42 * vessel.length_m, WATERLINE_POINT_SPACING_M)
    side = -np.sign(np.cos(np.radians(view.heading_deg)) or 1.0) * vessel.beam_m / 2  # the radar is at low columns
    return np.column_stack([along, np.full_like(along, side), np.zeros_like(along)])


def _to_pixels(places_m: np.ndarray, sensor: Sensor, view: View, region: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of places in the ship's frame; height brings it nearer the radar: height / tan(incidence)."""
    along, across, height = places_m.T
    cosine, sine = np.cos(np.radians(view.heading_deg)), np.sin(np.radians(view.heading_deg))
    azimuth_m = view.offset_m[0] + along * cosine - across * sine
    range_m = view.offset_m[1] + along * sine + across * cosine - height / np.tan(np.radians(view.incidence_deg))
    centre = (region - 1) / 2
    col_spacing_m = sensor.ground_col_spacing_m(view.incidence_deg)
    return centre + azimuth_m / sensor.row_spacing_m, centre + range_m / col_spacing_m


def _hull_pixels(vessel: Vessel, sensor: Sensor, view: View, region: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that the deck covers: a rectangle that narrows to the bow over its last fifth."""
    centre = (region - 1) / 2
    spacings_m = (sensor.row_spacing_m, sensor.ground_col_spacing_m(view.incidence_deg))
    axes, firsts = [], []
    for spacing_m, offset_m in zip(spacings_m, view.offset_m, strict=True):
        middle, reach = centre + offset_m / spacing_m, 0.5 * (vessel.length_m + vessel.beam_m) / spacing_m
        first, last = max(0, int(middle - reach)), min(region, int(middle + reach) + 2)
        axes.append((np.arange(first, last) - middle) * spacing_m)
        firsts.append(first)
    cosine, sine = np.cos(np.radians(view.heading_deg)), np.sin(np.radians(view.heading_deg))
    azimuth_m, range_m = axes[0][:, None], axes[1][None, :]
    along = (azimuth_m * cosine + range_m * sine) / vessel.length_m
    across = np.abs(range_m * cosine - azimuth_m * sine) / vessel.beam_m
    rows, cols = np.nonzero((along > -0.5) & (across < 0.5 * np.clip((0.5 - along) / 0.2, 0, 1)))
    return rows + firsts[0], cols + firsts[1]


def _clutter_cells_px(sensor: Sensor, view: View) -> tuple[float, float]:
    # At least two pixels: a finer texture would be speckle.
    col_spacing_m = sensor.ground_col_spacing_m(view.incidence_deg)
    return max(2.0, CLUTTER_CELL_M / sensor.row_spacing_m), max(2.0, CLUTTER_CELL_M / col_spacing_m)


def _white(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Circular complex Gaussian noise of variance 2, complex64.

    Quantiles of the normal law picked by 16 random bits: four times faster than drawing normals, which was half the
    time of a Gaofen-3 chip. The largest is 4.3 sigma, and every pixel of the image mixes many.
    """
    bits = np.frombuffer(rng.bytes(4 * int(np.prod(shape))), np.uint16)
    return _NORMAL_QUANTILES.take(bits).view(np.complex64).reshape(shape)


def _footprints(rows: np.ndarray, cols: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat indices and weights, both (n, 16), of points between the pixels of a (size, size) image that wraps.

    Cubic Lagrange weights on 4 x 4 pixels are true to 10 % up to 0.26 cycles a pixel, where the bands of Gaofen-3 and
    GRD end. The ends of SLC's band, at 0.38, lose up to half of a point midway between pixels.
    """
    row_index, row_weights = _lagrange(rows)
    col_index, col_weights = _lagrange(cols)
    flat = (row_index[:, :, None] % size) * size + (col_index[:, None, :] % size)
    weights = row_weights[:, :, None] * col_weights[:, None, :]
    return flat.reshape(-1, 16), weights.reshape(-1, 16)


def _lagrange(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights, both (n, 4), of the pixels round each position on one axis."""
    first = np.floor(positions).astype(int)
    t = positions - first
    before, after = -t * (t - 1) * (t - 2) / 6, (t + 1) * t * (t - 1) / 6
    left, right = (t + 1) * (t - 1) * (t - 2) / 2, -(t + 1) * t * (t - 2) / 2
    return first[:, None] + np.arange(-1, 3), np.stack([before, left, right, after], axis=1)
