"""Ship.xml of an OpenSARShip scene: the AIS record of each chip.

Release 2 ends with `<\\ShipList>`, and names may hold a bare `&`, so no XML parser takes the file; each
`<ship>` block is plain all the same. Reading the fields by name takes both, and can expand no entity.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from xml.sax.saxutils import unescape

from sarship.command import UserError
from sarship.readers import fields

_REQUIRED = ("Center_x", "Center_y", "MMSI")


@dataclass(frozen=True)
class Ship:
    """What AIS and MarineTraffic say of one chip's vessel.

    vessel: MMSI, "" where unknown; elaborated_type: e.g. "Bulk Carrier", "" where unknown;
    length_m, width_m, incidence_deg: NaN where unknown.
    """

    vessel: str = ""
    elaborated_type: str = ""
    length_m: float = math.nan
    width_m: float = math.nan
    incidence_deg: float = math.nan


def parse_ships(xml: str, scene: str) -> dict[tuple[int, int], Ship]:
    """The ships of a Ship.xml by (Center_x, Center_y): pixels of the scene, along range and azimuth.

    Two records for one place that disagree on the MMSI leave its vessel unknown.
    Raises UserError, naming `scene`, if there is no `<ship>` block or a required field is in none of them.
    """
    blocks = list(_blocks(xml))
    if not blocks:
        raise UserError(f"{scene}: Ship.xml has no <ship> block; get the scene again")
    for name in _REQUIRED:
        if not any(_field(block, name) for block in blocks):
            raise UserError(f"{scene}: Ship.xml lacks the field {name}; get the scene again")
    ships = {}
    for block in blocks:
        centre = _centre(block)
        if centre is None:
            continue
        ship = _ship(block)
        if centre in ships and ships[centre].vessel != ship.vessel:
            ship = replace(ship, vessel="")
        ships[centre] = ship
    return ships


def _blocks(xml: str) -> Iterator[str]:
    *closed, _rest = xml.split("</ship>")
    for block in closed:
        _before, tag, block_fields = block.rpartition("<ship>")
        if tag:
            yield block_fields


def _field(block: str, name: str) -> str:
    found = re.search(f"<{name}>([^<]*)</{name}>", block)
    return found.group(1).strip() if found else ""


def _centre(block: str) -> tuple[int, int] | None:
    try:
        return int(_field(block, "Center_x")), int(_field(block, "Center_y"))
    except ValueError:
        return None


def _ship(block: str) -> Ship:
    return Ship(
        vessel=fields.mmsi(_field(block, "MMSI")),
        elaborated_type=fields.text(unescape(_field(block, "Elaborated_type"))),
        length_m=fields.positive(_field(block, "Length")),
        width_m=fields.positive(_field(block, "Width")),
        incidence_deg=fields.positive(_field(block, "Incidence")),
    )
