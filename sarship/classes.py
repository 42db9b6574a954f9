"""One table that maps the classes of both data sets onto common class names.

Both sources name classes on two levels: FUSAR-Ship by folder (category, then sub-category), OpenSARShip by AIS ship
type (in the file name) and by MarineTraffic's `Elaborated_type` (in Ship.xml). A pattern below is matched against
"category/subcategory" of a chip, without regard to case, spaces and underscores; `*` stands for anything.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

# Level "category": FUSAR category and AIS type. Columns: common name, FUSAR-Ship, OpenSARShip.
CATEGORIES = [
    ("Cargo", ["Cargo/*"], ["Cargo/*"]),
    ("Fishing", ["Fishing/*"], ["Fishing/*"]),
    ("Tanker", ["Tanker/*"], ["Tanker/*"]),
    ("Passenger", ["Passenger/*"], ["Passenger/*"]),
    ("Tug", ["Tug/*"], ["Tug/*", "Towing/*"]),
    ("Dredger", ["Dredger/*"], ["Dredg*/*"]),
    ("HighSpeedCraft", ["HighSpeedCraft/*"], ["High speed*/*"]),
    ("LawEnforcement", ["LawEnforce*/*"], ["Law Enforcement/*"]),
    ("SearchAndRescue", ["SAR/*"], ["Search*/*"]),
    ("PortTender", ["PortTender/*"], ["Port Tender/*"]),
    ("Other", ["Other/*"], ["Other*/*"]),
]

# Level "subcategory": FUSAR sub-category and Elaborated_type. The first line that fits a chip names its class, so an
# LPG carrier that AIS calls Cargo is a Tanker here, and a bulk carrier that AIS calls Tanker is a BulkCarrier.
SUBCATEGORIES = [
    ("BulkCarrier", ["Cargo/Bulk*"], ["*/Bulk Carrier", "*/Ore Carrier", "*/Cement Carrier", "*/Limestone Carrier"]),
    ("ContainerShip", ["Cargo/Container*"], ["*/Container Ship", "*/Cellular Container*"]),
    ("GeneralCargo", ["Cargo/General*"], ["*/General Cargo"]),
    ("VehiclesCarrier", ["Cargo/Vehicle*"], ["*/Vehicles Carrier", "*/Ro-Ro Cargo"]),
    ("Fishing", ["Fishing/*"], ["*/Fish*", "*/Trawler", "Fishing/*"]),
    ("Tanker", ["Tanker/*"], ["*/*Tanker", "Tanker/*"]),
    ("Passenger", ["Passenger/*"], ["*/*Passenger*", "Passenger/*"]),
]

LEVELS = {"category": CATEGORIES, "subcategory": SUBCATEGORIES}
_COLUMN = {"Fusar": 1, "OpenSARShip": 2}


def class_names(level: str) -> list[str]:
    """The common class names of a level, in the order of its table."""
    return [line[0] for line in LEVELS[level]]


def class_of(dataset: str, category: str, subcategory: str, level: str, classes: Sequence[str]) -> str:
    """Which of `classes` a chip of that category and sub-category is; "" if none.

    A name of `classes` that the table of the level does not have stands for a source's own name on that level.
    """
    name = _common_name(dataset, category, subcategory, level)
    if name in classes:
        return name
    # A class is a folder, so "Oil/Chemical Tanker" is asked for as OilChemicalTanker, in any spelling without "/".
    own_name = _plain(category if level == "category" else subcategory).replace("/", "")
    return next((name for name in classes if name not in class_names(level) and _plain(name) == own_name), "")


def _common_name(dataset: str, category: str, subcategory: str, level: str) -> str:
    path = _plain(f"{category}/{subcategory}")
    for line in LEVELS[level]:
        if any(fnmatchcase(path, _plain(pattern)) for pattern in line[_COLUMN[dataset]]):
            return line[0]
    return ""


def _plain(name: str) -> str:
    return name.lower().replace(" ", "").replace("_", "")
