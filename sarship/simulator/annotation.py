"""What the makers of OpenSARShip did by hand: mark head and tail of each ship, and cut a chip four times as large."""

from dataclasses import dataclass

import numpy as np

from sarship.simulator.sensors import Sensor
from sarship.simulator.ships import Vessel

# People mark where the brightness ends, and a point is one resolution cell broad: Manual_Length exceeds AIS length by
# 14 m in the median of the real GRD chips (cells of 20 x 22 m), with a spread of 17 m.
BLUR_PER_END, BLUR_SPREAD = 0.33, 0.45
CENTRE_ERROR_PX = 1.2  # Center is off the middle of head and tail by up to that
FEWEST_PX = 3  # the smallest official chip has 13 = 4 * 3 + 1 pixels


@dataclass(frozen=True)
class Annotation:
    """Scene pixels as Ship.xml has them, x along range and y along azimuth, and where midships is off the centre.

    center, head, tail: (x, y). offset_m: (azimuth, range), as in imaging.View.
    """

    center: tuple[int, int]
    head: tuple[int, int]
    tail: tuple[int, int]
    offset_m: tuple[float, float]

    @property
    def side_px(self) -> int:
        """Of the chip: four times the larger extent, plus one."""
        return 4 * max(FEWEST_PX, *(abs(head - tail) for head, tail in zip(self.head, self.tail, strict=True))) + 1


def annotate(
    vessel: Vessel,
    sensor: Sensor,
    center: tuple[int, int],
    heading_deg: float,
    incidence_deg: float,
    rng: np.random.Generator,
) -> Annotation:
    """Mark a vessel whose chip is centred on the pixel `center` (x, y)."""
    spacing_m = np.array([sensor.ground_col_spacing_m(incidence_deg), sensor.row_spacing_m])  # x, y
    stretch = sensor.ground_col_spacing_m(incidence_deg) / sensor.col_spacing_m
    resolution_m = np.array([sensor.col_resolution_m * stretch, sensor.row_resolution_m])
    bow = np.array([np.sin(np.radians(heading_deg)), np.cos(np.radians(heading_deg))])
    cell_m = np.hypot(*(bow * resolution_m))
    offset_px = rng.uniform(-CENTRE_ERROR_PX, CENTRE_ERROR_PX, 2)
    ends = []
    for direction in (bow, -bow):
        reach_m = max(cell_m / 2, vessel.length_m / 2 + cell_m * (BLUR_PER_END + BLUR_SPREAD * rng.standard_normal()))
        x, y = np.rint(center + offset_px + direction * reach_m / spacing_m).astype(int)
        ends.append((int(x), int(y)))
    return Annotation(center, ends[0], ends[1], (offset_px[1] * spacing_m[1], offset_px[0] * spacing_m[0]))
