"""The fleet: which kinds of vessel there are, how long and broad they are, and their names in both archives."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sarship.simulator import layouts

# Spread of a vessel's radar cross-section round the mean of its length, dB. Integrated sigma nought of the 148 GRD
# chips of the four real OpenSARShip scenes scatters by 3.9 dB round its fit on length; the part of it that is the
# vessel's own and not the pass's cannot be told from one sighting each, so half the variance is given to each.
RCS_SPREAD_VESSEL_DB = 2.8
# Spread of scatterers of one group round their mean, dB: a few corner reflectors outshine the rest. The brightest
# pixel of a real GRD chip holds 4 to 15 % of the echo of the whole ship, 8 % in the median.
SCATTERER_SPREAD_DB = 7.5
# Length over beam of one kind varies little: 5..95 % of bulk carriers in the real Ship.xml have 5.9 to 7.0.
LENGTH_TO_BEAM_SPREAD = 0.06
# First three digits of an MMSI (ITU maritime identification digits) with the flag, as the real Ship.xml writes it.
FLAGS = {
    413: "China [CN]",
    477: "Hong Kong [HK]",
    351: "Panama [PA]",
    431: "Japan [JP]",
    440: "Korea [KR]",
    538: "Marshall Is [MH]",
    636: "Liberia [LR]",
    563: "Singapore [SG]",
}


@dataclass(frozen=True)
class Kind:
    """One kind of vessel.

    category: FUSAR-Ship's top folder, and the common class name.
    fusar_folder, fusar_code: FUSAR-Ship's sub-folder and the `CxxSyy` of its file names.
    opensarship_type, elaborated_type, ais_code: the `<Type>` of file names, `Elaborated_type` and AIS `Ship_Type`.
    share: part of its category, 0..1.
    length_m: 5, 50 and 95 % quantiles.
    length_to_beam: median ratio.
    layout: where its scatterers are.
    """

    category: str
    fusar_folder: str
    fusar_code: str
    opensarship_type: str
    elaborated_type: str
    ais_code: int
    share: float
    length_m: tuple[float, float, float]
    length_to_beam: float
    layout: layouts.Layout


# Where the numbers come from:
# - Shares inside Cargo and Tanker, and lengths of bulk carriers, container ships, general cargo, LPG and product
#   tankers are those of the 158 ships in the Ship.xml of the four real OpenSARShip scenes (5, 50, 95 %), rounded. Most
#   of those are coasters in Tokyo Bay, so the upper ends are opened to the standard sizes of world trade: Capesize
#   bulk carriers of 290 m, MR and LR product tankers of 183 and 228 m, panamax and larger container ships of 294 to
#   366 m, very large gas carriers of 225 m (UNCTAD, Review of Maritime Transport; Equasis, World Merchant Fleet).
# - Crude carriers: Aframax 244 m, Suezmax 274 m, VLCC 333 m (the same).
# - Fishing: those that send AIS are mostly longer than 24 m (Kroodsma et al., Science 359, 2018), and IMO numbers
#   begin at 100 GT; otter trawlers of the East China Sea are 30 to 45 m long, distant-water vessels up to 80 m.
# - Length to beam: medians of the same Ship.xml for cargo and tankers; below 130 m Watson & Gilfillan's rule (Some ship
#   design methods, Trans. RINA 119, 1977): 4 up to 30 m, 4 + 0.025 (L - 30) up to 130 m, which is 4.2 at 36 m.
#   Crude carriers: 5.0 to 5.8 in the Ship.xml.
# - FUSAR-Ship's first code counts its fifteen categories by alphabet (Dredger is C03 in the real names), and `C01S02`
#   is Cargo\BulkCarrier; second codes of the others are placeholders in the same form.
KINDS = (
    Kind("Cargo", "BulkCarrier", "C01S02", "Cargo", "Bulk Carrier", 70, 0.35, (79, 190, 290), 6.2,
         layouts.bulk_carrier),
    Kind("Cargo", "ContainerShip", "C01S03", "Cargo", "Container Ship", 71, 0.2, (97, 172, 350), 6.5,
         layouts.container_ship),
    Kind("Cargo", "GeneralCargo", "C01S04", "Cargo", "General Cargo", 70, 0.45, (72, 95, 170), 6.25,
         layouts.general_cargo),
    Kind("Fishing", "Fishing", "C04S01", "Fishing", "Fishing", 30, 1.0, (24, 36, 65), 4.2,
         layouts.fishing_vessel),
    Kind("Tanker", "CrudeOilTanker", "C12S02", "Tanker", "Crude Oil Tanker", 80, 0.15, (228, 250, 333), 5.6,
         layouts.oil_tanker),
    Kind("Tanker", "OilChemicalTanker", "C12S03", "Tanker", "Oil/Chemical Tanker", 80, 0.2, (65, 120, 184), 6.4,
         layouts.oil_tanker),
    Kind("Tanker", "OilProductsTanker", "C12S04", "Tanker", "Oil Products Tanker", 80, 0.4, (73, 104, 228), 6.5,
         layouts.oil_tanker),
    Kind("Tanker", "LPGTanker", "C12S05", "Tanker", "LPG Tanker", 84, 0.25, (60, 75, 225), 6.1,
         layouts.gas_tanker),
    # Other classes, which a reader of the three leaves out; lengths are rounded, the kinds are too mixed to cite.
    Kind("Passenger", "Passenger", "C08S01", "Passenger", "Passenger Ship", 60, 1.0, (30, 90, 290), 5.8,
         layouts.passenger_ship),
    Kind("Tug", "Tug", "C13S01", "Tug", "Tug", 52, 1.0, (20, 30, 45), 3.2,
         layouts.fishing_vessel),
    Kind("Other", "Other", "C07S01", "Other Type", "Offshore Supply Ship", 90, 1.0, (40, 70, 95), 4.3,
         layouts.general_cargo),
)  # fmt: skip


@dataclass(frozen=True)
class Vessel:
    """One vessel: the same dimensions and the same scatterers whenever it is seen.

    mmsi, imo: numbers by which both archives know it.
    length_m, beam_m: overall, metres.
    rcs_offset_db: how much brighter it is than the mean vessel of its length.
    seed: of the places of its scatterers.
    """

    mmsi: int
    imo: int
    kind: Kind
    length_m: float
    beam_m: float
    rcs_offset_db: float
    seed: int

    @property
    def flag(self) -> str:
        return FLAGS[self.mmsi // 1_000_000]

    @cached_property
    def scatterers(self) -> tuple[np.ndarray, np.ndarray]:
        """Places (n, 3) in metres, forward of midships, to port and above the water; shares (n,) that add up to 1."""
        rng = np.random.default_rng(self.seed)
        places, shares = [], []
        for group in self.kind.layout(self.length_m, self.beam_m, rng):
            strength = 10 ** (SCATTERER_SPREAD_DB / 10 * rng.standard_normal(len(group.places)))
            places.append(group.places)
            shares.append(group.share * strength / strength.sum())
        shares = np.concatenate(shares)
        return np.concatenate(places), shares / shares.sum()


def draw_vessel(kind: Kind, mmsi: int, rng: np.random.Generator) -> Vessel:
    """A vessel of a kind, with dimensions from the kind's distributions."""
    length_m = _draw_length(kind.length_m, rng)
    ratio = kind.length_to_beam * np.exp(LENGTH_TO_BEAM_SPREAD * rng.standard_normal())
    return Vessel(
        mmsi=mmsi,
        imo=int(rng.integers(8_000_000, 9_900_000)),
        kind=kind,
        length_m=length_m,
        beam_m=length_m / ratio,
        rcs_offset_db=RCS_SPREAD_VESSEL_DB * rng.standard_normal(),
        seed=int(rng.integers(2**63)),
    )


def _draw_length(quantiles_m: tuple[float, float, float], rng: np.random.Generator) -> float:
    """A draw from the log-normal law whose two halves meet the 5, 50 and 95 % quantiles; at most 2 sigma out."""
    low, middle, high = np.log(quantiles_m)
    sigmas = np.clip(rng.standard_normal(), -2, 2)
    sigma = (middle - low) / 1.645 if sigmas < 0 else (high - middle) / 1.645  # 1.645: 95 % of a normal law
    return float(np.exp(middle + sigma * sigmas))
