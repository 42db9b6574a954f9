"""The sea at C band: mean backscatter by wind and incidence, and the slow part of K-distributed clutter."""

import numpy as np

# CMOD5.N: Hersbach, CMOD5.N: a C-band geophysical model function for equivalent neutral wind, ECMWF Technical
# Memorandum 554, 2008. Index 0 is unused, so that C[1] is the paper's c1.
_C = (
    0.0, -0.6878, -0.7957, 0.3380, -0.1728, 0.0000, 0.0040, 0.1103, 0.0159, 6.7329, 2.7713, -2.2885, 0.4971, -0.7250,
    0.0450, 0.0066, 0.3222, 0.0120, 22.7000, 2.0813, 3.0000, 8.3659, -3.3428, 1.3236, 6.2437, 2.3893, 0.3249, 4.1590,
    1.6930,
)  # fmt: skip


def sigma0_vv(wind_mps: float, wind_direction_deg: float, incidence_deg: float) -> float:
    """Mean sigma nought of the sea at VV, linear, by CMOD5.N.

    wind_mps: speed at 10 m. wind_direction_deg: 0 where the radar looks upwind. incidence_deg: 16 to 66.
    """
    v, x, c = wind_mps, (incidence_deg - 40) / 25, _C
    a0 = c[1] + c[2] * x + c[3] * x**2 + c[4] * x**3
    a1, a2 = c[5] + c[6] * x, c[7] + c[8] * x
    gamma, s0 = c[9] + c[10] * x + c[11] * x**2, c[12] + c[13] * x
    s = a2 * v
    a3 = 1 / (1 + np.exp(-max(s, s0)))
    if s < s0:
        a3 *= (s / s0) ** (s0 * (1 - a3))
    b0 = a3**gamma * 10 ** (a0 + a1 * v)

    b1 = c[14] * (1 + x) - c[15] * v * (0.5 + x - np.tanh(4 * (x + c[16] + c[17] * v)))
    b1 /= np.exp(0.34 * (v - c[18])) + 1

    y0, n = c[19], c[20]
    y = v / (c[21] + c[22] * x + c[23] * x**2) + 1
    if y < y0:
        y = y0 - (y0 - 1) / n + (y - 1) ** n / (n * (y0 - 1) ** (n - 1))
    d1, d2 = c[24] + c[25] * x + c[26] * x**2, c[27] + c[28] * x
    b2 = (d2 * y - d1) * np.exp(-y)

    cosine = np.cos(np.radians(wind_direction_deg))
    return float(b0 * (1 + b1 * cosine + b2 * (2 * cosine**2 - 1)) ** 1.6)


def sigma0_hh(wind_mps: float, wind_direction_deg: float, incidence_deg: float) -> float:
    """Mean sigma nought at HH: VV over the polarisation ratio of Thompson, Elfouhaily & Chapron (IGARSS 1998)."""
    tangent2 = np.tan(np.radians(incidence_deg)) ** 2
    ratio = (1 + 2 * tangent2) ** 2 / (1 + 0.6 * tangent2) ** 2  # alpha = 0.6 fits C band
    return sigma0_vv(wind_mps, wind_direction_deg, incidence_deg) / float(ratio)


def sigma0_cross(wind_mps: float) -> float:
    """Mean sigma nought at VH and HV, linear, by C-2PO: Zhang & Perrie, Bull. Amer. Meteor. Soc. 93, 2012."""
    return float(10 ** ((0.580 * wind_mps - 35.652) / 10))


def sigma0(polarization: str, wind_mps: float, wind_direction_deg: float, incidence_deg: float) -> float:
    """Mean sigma nought of the sea, linear; polarization is VV, HH, VH or HV."""
    if polarization == "VV":
        return sigma0_vv(wind_mps, wind_direction_deg, incidence_deg)
    if polarization == "HH":
        return sigma0_hh(wind_mps, wind_direction_deg, incidence_deg)
    return sigma0_cross(wind_mps)


def draw_wind(rng: np.random.Generator) -> tuple[float, float]:
    """Speed (m/s) and direction (degrees from the look direction) of the wind over one scene.

    Sea winds follow a Weibull law of shape near 2 (Monahan, J. Climate 19, 2006). The scale of 6 m/s makes the mean
    5.3 m/s, below the 7 m/s of the open ocean, as AIS is received near coasts; it puts the median sea at VV where the
    real chips have it, -17 to -18 dB.
    """
    speed = 6.0 * rng.weibull(2.0)
    return float(np.clip(speed, 1.5, 16)), float(rng.uniform(0, 360))


def texture(
    shape: tuple[int, int], cells_px: tuple[float, float], order: float, rng: np.random.Generator
) -> np.ndarray:
    """The slow factor of K-distributed clutter: gamma of mean 1 and variance 1 / order, (rows, cols) float32.

    cells_px: its correlation length in rows and in columns. It is a smooth Gaussian field put through the cube of
    Wilson & Hilferty (PNAS 17, 1931), which turns a normal into a gamma variate to within 1 % for orders above 2.
    """
    row_weights, col_weights = (_smoothing(n, cell) for n, cell in zip(shape, cells_px, strict=True))
    nodes = rng.standard_normal((row_weights.shape[1], col_weights.shape[1]), dtype=np.float32)
    normal = row_weights @ nodes @ col_weights.T
    root = 1 - 1 / (9 * order) + normal / np.float32(3 * np.sqrt(order))
    return np.maximum(root, np.float32(0.05)) ** 3


def _smoothing(length: int, cell_px: float) -> np.ndarray:
    """(length, nodes) Gaussian weights of nodes one cell apart; each row has unit norm, so the variance stays 1."""
    nodes = np.arange(-2, length / cell_px + 2) * cell_px
    weights = np.exp(-0.5 * ((np.arange(length)[:, None] - nodes) / cell_px) ** 2)
    return (weights / np.linalg.norm(weights, axis=1, keepdims=True)).astype(np.float32)
