"""Ship.xml and the metadata file of an OpenSARShip scene, quirks included.

Release 1 writes Slant_Range_Time, no ChipNoise, and closes its list; release 2 writes SlantRangeTime, ChipNoise, and
ends with the malformed `<\\ShipList>`. Both end lines with CR LF; some True_Head values begin with a blank.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from sarship.simulator.annotation import Annotation
from sarship.simulator.sensors import GRD, Sensor
from sarship.simulator.ships import Vessel

# Parts of MarineTraffic's answers in the real Ship.xml: 12 of 158 "NA", 3 "Unspecified", 9 no more than the class.
_NO_ANSWER, _UNSPECIFIED, _CLASS_ONLY = 0.076, 0.095, 0.152
_HULL_FILLING = 0.78  # block coefficient of full cargo ships (Watson & Gilfillan 1977)
_BEAM_TO_DRAUGHT = 2.6  # 32 m beam and 12 m draught of a Handymax


@dataclass(frozen=True)
class Pass:
    """One product: its name in parts, and how it lies on the ground.

    product: "GRD" or "SLC". start: of the scene, UTC. orbit, take, code: numbers of the official name.
    polarizations: of the bands. descending: direction of flight. corner: longitude and latitude of its first pixel.
    """

    product: str
    start: datetime
    orbit: int
    take: int
    code: int
    polarizations: tuple[str, ...]
    descending: bool
    corner: tuple[float, float]

    SECONDS = 25

    @property
    def name(self) -> str:
        """The official name, e.g. S1A_IW_GRDH_1SDV_<start>_<stop>_<orbit>_<take>_<code>."""
        start, stop = (f"{time:%Y%m%dT%H%M%S}" for time in (self.start, self.stop))
        resolution = "H" if self.product == "GRD" else "_"
        polarization = "DV" if len(self.polarizations) > 1 else "SV"
        return (
            f"S1A_IW_{self.product}{resolution}_1S{polarization}_{start}_{stop}"
            f"_{self.orbit:06d}_{self.take:06X}_{self.code:04X}"
        )

    @property
    def stop(self) -> datetime:
        return self.start + timedelta(seconds=self.SECONDS)

    @property
    def flight_heading_deg(self) -> float:
        # Sentinel-1: inclination 98.18 degrees, so the track leans by some 10 degrees at middle latitudes.
        return 190.3 if self.descending else 349.7


@dataclass(frozen=True)
class Ship:
    """One `<ship>`: the vessel, where it was marked, and how it lay."""

    vessel: Vessel
    annotation: Annotation
    heading_deg: float
    incidence_deg: float


def ship_list(ships: list[Ship], scene: Pass, sensor: Sensor, release: int) -> bytes:
    """Ship.xml of one scene in the form of release 1 or 2."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<ShipList>"]
    for ship in ships:
        lines.append("\t<ship>")
        for section, fields in _sections(ship, scene, sensor, release):
            lines.append(f"\t\t<{section}>")
            lines += [f"\t\t\t<{name}>{value}</{name}>" for name, value in fields.items()]
            lines.append(f"\t\t</{section}>")
        lines.append("\t</ship>")
    lines.append("</ShipList>" if release == 1 else "<\\ShipList>")
    return "\r\n".join(lines).encode()


def _sections(ship: Ship, scene: Pass, sensor: Sensor, release: int) -> list[tuple[str, dict]]:
    sections = [
        ("SARShipInformation", _sar_fields(ship, scene, sensor, release)),
        ("AISShipInformation", _ais_fields(ship, scene)),
        ("MatchInformation", _match_fields(ship, sensor)),
        ("MarineTrafficInformation", _registry_fields(ship.vessel)),
    ]
    # Interference, Port and Multi_ship tell of other bright things in the chip; none is simulated.
    return sections if release == 1 else [*sections, ("ChipNoise", {"Interference": 0})]


def _sar_fields(ship: Ship, scene: Pass, sensor: Sensor, release: int) -> dict:
    mark = ship.annotation
    half = mark.side_px // 2
    longitude, latitude = _place(scene, sensor, mark.center, ship.incidence_deg)
    extent_x, extent_y = mark.head[0] - mark.tail[0], mark.head[1] - mark.tail[1]
    chip_direction = -np.degrees(np.arctan(extent_x / extent_y)) if extent_y else 90.0
    slant_range_time = "Slant_Range_Time" if release == 1 else "SlantRangeTime"
    time = scene.start + timedelta(seconds=scene.SECONDS / 2)
    return {
        "Time_UTC": f"{time.year}/{time.month}/{time.day}.{time:%H:%M:%S}",
        "Head_x": mark.head[0],
        "Head_y": mark.head[1],
        "Tail_x": mark.tail[0],
        "Tail_y": mark.tail[1],
        # The real files name the corner of larger coordinates the upper left one.
        "UpperLeft_x": mark.center[0] + half,
        "UpperLeft_y": mark.center[1] + half,
        "LowerRight_x": mark.center[0] - half,
        "LowerRight_y": mark.center[1] - half,
        "Center_x": mark.center[0],
        "Center_y": mark.center[1],
        "Center_longitude": f"{longitude:.6e}",
        "Center_latitude": f"{latitude:.6e}",
        "Manual_Length": _manual_length_m(ship, sensor),
        "North_Direction": f"{(scene.flight_heading_deg - 180 - chip_direction) % 360:.6e}",
        "Chip_Direction": f"{chip_direction:.6e}",
        "Incidence": f"{ship.incidence_deg:.6f}",
        "Elevation": "NaN" if scene.product == "SLC" else f"{ship.incidence_deg * 0.888:.6f}",
        slant_range_time: f"{2 * 693e3 / np.cos(np.radians(ship.incidence_deg * 0.888)) / 299792458 * 1e9:.6f}",
    }


def _ais_fields(ship: Ship, scene: Pass) -> dict:
    vessel = ship.vessel
    longitude, latitude = scene.corner
    heading = (scene.flight_heading_deg + ship.heading_deg) % 360
    time = scene.start + timedelta(seconds=scene.SECONDS / 2)
    draught_m = vessel.beam_m / _BEAM_TO_DRAUGHT
    return {
        "Time": int(time.timestamp()),
        "MMSI": vessel.mmsi,
        "Nav_Status": 0,
        "Rot": 0,
        "Sog": 0,
        "Pos_Acc": 0,
        "Longitude": f"{longitude:.6f}",
        "Latitude": f"{latitude:.6f}",
        "Projected_Longitude": f"{longitude:.6f}",
        "Projected_Latitude": f"{latitude:.6f}",
        "Cog": f"{10 * heading:.2f}",
        "True_Head": f"{heading:5.2f}" if heading >= 10 else f" {heading:.2f}",
        "Name": f"SIMULATED {vessel.mmsi % 1_000_000:06d}",
        "Ship_Type": vessel.kind.ais_code,
        "IMO": vessel.imo,
        "Callsign": f"SIM{vessel.mmsi % 10_000:04d}",
        "Length": round(vessel.length_m),
        "Width": round(vessel.beam_m),
        "Draught": round(10 * draught_m),
        "Msgid": 1,
    }


def _match_fields(ship: Ship, sensor: Sensor) -> dict:
    error_m = abs(_manual_length_m(ship, sensor) - round(ship.vessel.length_m))
    offset_m = np.hypot(*ship.annotation.offset_m)
    return {
        "Length_error": f"{error_m:.6f}",
        "Length_error_rate": f"{error_m / ship.vessel.length_m:.6f}",
        "Distance_error": f"{offset_m:.6f}",
    }


def _registry_fields(vessel: Vessel) -> dict:
    draught_m = vessel.beam_m / _BEAM_TO_DRAUGHT
    displacement_t = 1.025 * _HULL_FILLING * vessel.length_m * vessel.beam_m * draught_m
    known = {
        "Length_overall": f"{vessel.length_m:.6f}",
        "Breadth_extreme": f"{vessel.beam_m:.6f}",
        "Elaborated_type": vessel.kind.elaborated_type,
        "Gross_tonnage": round(0.45 * displacement_t),  # as Handymax: 30,000 GT, 53,000 dwt, 66,000 t
        "Deadweight": round(0.8 * displacement_t),
        "Flag": vessel.flag,
        "Year_built": 1990 + vessel.imo % 26,
    }
    # The same vessel gets the same answer in every scene.
    lot = np.random.default_rng([vessel.seed, 1]).random()
    if lot < _NO_ANSWER:
        return dict.fromkeys(known, "NA")
    if lot < _UNSPECIFIED:
        return known | {"Elaborated_type": "Unspecified", "Gross_tonnage": "NaN", "Deadweight": "NaN"}
    if lot < _CLASS_ONLY:
        return known | {"Elaborated_type": vessel.kind.category, "Gross_tonnage": "NaN", "Deadweight": "NaN"}
    return known


def _manual_length_m(ship: Ship, sensor: Sensor) -> int:
    mark = ship.annotation
    x_m = (mark.head[0] - mark.tail[0]) * sensor.ground_col_spacing_m(ship.incidence_deg)
    return round(float(np.hypot(x_m, (mark.head[1] - mark.tail[1]) * sensor.row_spacing_m)))


def _place(scene: Pass, sensor: Sensor, pixel: tuple[int, int], incidence_deg: float) -> tuple[float, float]:
    """Longitude and latitude of a pixel (x, y), along a track taken as north-south."""
    metres_per_degree = 111_320
    away = pixel[0] * sensor.ground_col_spacing_m(incidence_deg) / metres_per_degree
    along = pixel[1] * sensor.row_spacing_m / metres_per_degree
    sign = -1 if scene.descending else 1
    return scene.corner[0] + sign * away, scene.corner[1] + sign * along


def metadata(scene: Pass, sensor: Sensor) -> bytes:
    """The product's metadata as SNAP writes them, as far as a reader of chips needs them."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<Metadata>", "  <Abstracted_Metadata>"]
    for polarization in scene.polarizations:
        lines.append(f"    <Band_IW_{polarization}>")
        lines += [f"  {line}" for line in map(_attribute, _band_attributes(scene, polarization))]
        lines.append(f"    </Band_IW_{polarization}>")
    lines += map(_attribute, _product_attributes(scene, sensor))
    lines += ["  </Abstracted_Metadata>", "</Metadata>", ""]
    return "\r\n".join(lines).encode()


def _attribute(row: tuple) -> str:
    name, value, kind, unit, description = row
    return f'    <attrib name="{name}" value="{value}" type="{kind}" unit="{unit}" desc="{description}" />'


def _band_attributes(scene: Pass, polarization: str) -> list[tuple]:
    bands = {"GRD": "Amplitude_{0}", "SLC": "i_IW_{0} q_IW_{0}"}[scene.product].format(polarization)
    return [
        ("swath", "IW", 41, "", "Swath name"),
        ("polarization", polarization, 41, "", "Polarization"),
        ("band_names", bands, 41, "", "corresponding bands"),
        ("sample_type", _sample_type(scene), 41, "", "DETECTED or COMPLEX"),
    ]


def _product_attributes(scene: Pass, sensor: Sensor) -> list[tuple]:
    first, last = (f"{time:%d-%b-%Y %H:%M:%S}.000000".upper() for time in (scene.start, scene.stop))
    return [
        ("PRODUCT", scene.name, 41, "", "Product name"),
        ("PRODUCT_TYPE", scene.product, 41, "", "Product type"),
        ("SPH_DESCRIPTOR", f"Sentinel-1 IW Level-1 {scene.product} Product", 41, "", "Description"),
        ("MISSION", "SENTINEL-1A", 41, "", "Satellite mission"),
        ("ACQUISITION_MODE", "IW", 41, "", "Acquisition mode"),
        ("antenna_pointing", "right", 41, "", "Right or left facing"),
        ("Processing_system_identifier", "sarship simulator", 41, "", "Processing system identifier"),
        ("ABS_ORBIT", scene.orbit, 12, "", "Orbit"),
        ("data_take_id", scene.take, 12, "", "Data take identifier"),
        ("first_line_time", first, 51, "utc", "First zero doppler azimuth time"),
        ("last_line_time", last, 51, "utc", "Last zero doppler azimuth time"),
        ("PASS", "DESCENDING" if scene.descending else "ASCENDING", 41, "", "ASCENDING or DESCENDING"),
        ("SAMPLE_TYPE", _sample_type(scene), 41, "", "DETECTED or COMPLEX"),
        *((f"mds{n}_tx_rx_polar", "-", 41, "", "Polarization") for n in (1, 2, 3, 4)),
        ("azimuth_looks", "1.0", 31, "", ""),
        ("range_looks", f"{len(sensor.look_weights)}.0", 31, "", ""),
        ("range_spacing", sensor.col_spacing_m, 31, "m", "Range sample spacing"),
        ("azimuth_spacing", sensor.row_spacing_m, 31, "m", "Azimuth sample spacing"),
        ("radar_frequency", "5405.000454334349", 31, "MHz", "Radar frequency"),
        ("srgr_flag", int(sensor is GRD), 20, "flag", "SRGR applied"),
        ("abs_calibration_flag", 0, 20, "flag", "Product calibrated"),
    ]


def _sample_type(scene: Pass) -> str:
    return "DETECTED" if scene.product == "GRD" else "COMPLEX"
