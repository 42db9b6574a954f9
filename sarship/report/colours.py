"""Colours of the page that have to be computed: the scale of heat maps, with text that can be read on every level."""

from collections.abc import Iterator

import numpy as np

LEVELS = 21  # steps of 5 %: finer ones cannot be told apart in cells beside each other
# From cold to hot, away from the paper in both modes; the middle is the blue of Okabe and Ito.
LIGHT_STOPS = ("#F1F6FA", "#0072B2", "#00304F")
DARK_STOPS = ("#1D2833", "#0072B2", "#CFE8F8")
BLACK, WHITE = "#000000", "#FFFFFF"
# Linear sRGB to the cone responses, and their cube roots to OKLab: B. Ottosson, A perceptual color space, 2020.
TO_CONES = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                     [0.2119034982, 0.6806995451, 0.1073969566],
                     [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                   [1.9779984951, -2.4285922050, 0.4505937099],
                   [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


def heat_rules() -> str:
    """CSS rules of the classes h0 (lowest) to h20 (highest): background and the text colour that reads best on it."""
    light = "\n".join(_rules(LIGHT_STOPS))
    dark = "\n".join(_rules(DARK_STOPS))
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def heat_level(value: float, lowest: float, highest: float) -> int:
    """The level 0..LEVELS - 1 of a finite value; values beyond the scale take its nearest end."""
    if highest <= lowest:
        return LEVELS // 2
    share = (value - lowest) / (highest - lowest)
    return round(min(max(share, 0.0), 1.0) * (LEVELS - 1))


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours `#RRGGBB`, 1..21 (WCAG 2.2)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def heat_colours(stops: tuple[str, ...]) -> list[str]:
    """LEVELS colours between the stops, mixed in OKLab, their lightness evenly spaced."""
    lab = np.array([_to_oklab(stop) for stop in stops])
    places = (lab[:, 0] - lab[0, 0]) / (lab[-1, 0] - lab[0, 0])
    mixed = np.stack([np.interp(np.linspace(0, 1, LEVELS), places, lab[:, axis]) for axis in range(3)], axis=1)
    return [_from_oklab(colour) for colour in mixed]


def _rules(stops: tuple[str, ...]) -> Iterator[str]:
    for level, colour in enumerate(heat_colours(stops)):
        # One of the two has a contrast of at least 4.58 on any colour.
        text = max((BLACK, WHITE), key=lambda candidate: contrast(candidate, colour))
        yield f".h{level} {{ background: {colour}; color: {text}; }}"


def _linear(colour: str) -> np.ndarray:
    srgb = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _luminance(colour: str) -> float:
    return float(_linear(colour) @ (0.2126, 0.7152, 0.0722))


def _to_oklab(colour: str) -> np.ndarray:
    return TO_LAB @ np.cbrt(TO_CONES @ _linear(colour))


def _from_oklab(lab: np.ndarray) -> str:
    linear = np.clip(np.linalg.inv(TO_CONES) @ (np.linalg.inv(TO_LAB) @ lab) ** 3, 0, 1)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return "#{:02X}{:02X}{:02X}".format(*np.rint(255 * srgb).astype(int))
