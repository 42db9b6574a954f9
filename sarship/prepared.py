"""The prepared folder: how prepared/<Dataset>/ is laid out, written and read.

prepared/options.json                  what it was made with, to notice another --option
prepared/<Dataset>/<split>/<Class>/<chip>.png
prepared/<Dataset>/manifest.csv        one row a chip, MANIFEST_COLUMNS
prepared/<Dataset>/summary.png
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sarship.command import UserError
from sarship.decoded import chip_shape, decoded_chips
from sarship.stored_chips import StoredChips

CACHE = "cache"  # below --out: what can be made again; see decoded.py and features.py
SPLITS = ("train", "val", "test")
SHIP_DATASETS = ("Fusar", "OpenSARShip")
DATASETS = (*SHIP_DATASETS, "Mixed")  # Mixed joins the other two, or sets of scenes, split by split
MANIFEST_COLUMNS = (
    "chip", "dataset", "split", "class", "subclass", "vessel", "scene", "sensor", "product", "polarization",
    "row_spacing_m", "col_spacing_m", "length_m", "width_m", "rows", "cols", "source", "sha256",
)  # fmt: skip


def chip_path(folder: Path, row) -> Path:
    """Where the chip of a manifest row lies in prepared/<Dataset>/."""
    return folder / row["split"] / row["class"] / f"{row['chip']}.png"


def write_manifest(path: Path, manifest: pd.DataFrame) -> None:
    """manifest.csv, rows in the order of dataset, split, class, chip: the same chips give the same bytes."""
    ordered = manifest.sort_values(["dataset", "split", "class", "chip"], kind="stable")
    ordered.to_csv(path, columns=list(MANIFEST_COLUMNS), index=False, float_format="%.6g", lineterminator="\n")


@dataclass(frozen=True, eq=False)
class PreparedSet:
    """One prepared data set. manifest: DataFrame of MANIFEST_COLUMNS; classes: sorted names.

    paths: where the chip of each manifest row lies; it stays there when `with_splits` deals the chips anew.
    """

    folder: Path
    manifest: pd.DataFrame
    paths: tuple[Path, ...]
    _decoded: list[StoredChips] = field(default_factory=list, repr=False)  # all chips, once they were asked for

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def classes(self) -> list[str]:
        return sorted(self.manifest["class"].unique())

    @property
    def image_size(self) -> int:
        return chip_shape(self.paths[0])[0]

    @property
    def bands(self) -> str:
        """What the chips have: "grey" or "rgb"."""
        return "rgb" if len(chip_shape(self.paths[0])) == 3 else "grey"

    @property
    def shows_ships(self) -> bool:
        """Whether the chips are ships in SAR images, not scenes."""
        return set(self.manifest["dataset"]) <= set(SHIP_DATASETS)

    def with_splits(self, splits: np.ndarray) -> "PreparedSet":
        """The same chips, with the split of each manifest row as in `splits` (rows,); decoded chips are shared."""
        return PreparedSet(self.folder, self.manifest.assign(split=splits), self.paths, self._decoded)

    def rows(self, split: str) -> pd.DataFrame:
        """The manifest rows of `split`, in the order of `pixels` and `labels`."""
        return self.manifest[self.manifest["split"] == split].reset_index(drop=True)

    def labels(self, split: str, classes: list[str]) -> np.ndarray:
        """Index into `classes` of each chip of `split`, (chips,) int64."""
        names = self.manifest.loc[self.manifest["split"] == split, "class"]
        return np.array([classes.index(name) for name in names], np.int64)

    def pixels(self, split: str) -> StoredChips:
        """Decoded chips of `split`, (chips, rows, cols[, 3]) uint8; see `decoded.py` for where they are kept.

        They stay on the disk: to index them is to read those. Raises UserError for a chip that is lost or damaged.
        """
        if not self._decoded:
            cache = self.folder.parents[1] / CACHE
            chips = decoded_chips(cache, self.name, self.fingerprint(), self.paths, self.manifest["sha256"].tolist())
            self._decoded.append(chips)
        return self._decoded[0].chosen(np.flatnonzero(self.manifest["split"] == split))

    def fingerprint(self) -> str:
        """SHA-256 of the manifest's content, which names every chip by its own SHA-256."""
        return hashlib.sha256((self.folder / "manifest.csv").read_bytes()).hexdigest()


def read_options(out: Path) -> dict:
    """What prepared/ below `out` was made with. Raises UserError if it does not say."""
    path = out / "prepared" / "options.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: does not say how prepared/ was made; make it again with --overwrite") from error


def list_datasets(out: Path) -> list[str]:
    """Names of the data sets prepared below `out`, in the order of DATASETS. Raises UserError if there is none."""
    found = {path.parent.name for path in (out / "prepared").glob("*/manifest.csv")}
    if not found:
        raise UserError(f"{out / 'prepared'}: holds no prepared data set; run dataset_prep.py first (or with --demo)")
    return [name for name in DATASETS if name in found] + sorted(found - set(DATASETS))


def read_dataset(out: Path, name: str) -> PreparedSet:
    """The data set prepared/<name>/ below `out`. Raises UserError if it is missing or its manifest is damaged."""
    folder = out / "prepared" / name
    manifest = read_manifest(folder / "manifest.csv")
    named = ({"split": s, "class": c, "chip": n} for s, c, n in manifest[["split", "class", "chip"]].to_numpy())
    return PreparedSet(folder, manifest, tuple(chip_path(folder, row) for row in named))


def read_manifest(path: Path) -> pd.DataFrame:
    """manifest.csv with text as text ("" where empty) and metres as floats (NaN where empty).

    Raises UserError if it is missing, empty or damaged: without a column or the end of a row, or with a split or
    metres that are none.
    """
    metres = [column for column in MANIFEST_COLUMNS if column.endswith("_m")]
    kinds = {column: float if column in metres else str for column in MANIFEST_COLUMNS}
    try:
        manifest = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values={column: [""] for column in metres})
    except FileNotFoundError as error:
        raise UserError(f"{path.parent}: is not prepared; run dataset_prep.py first (or with --demo)") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run dataset_prep.py --overwrite") from error
    missing = [column for column in MANIFEST_COLUMNS if column not in manifest.columns]
    if missing or manifest.empty:
        lack = f"lacks column {missing[0]}" if missing else "has no chips"
        raise UserError(f"{path}: {lack}; run dataset_prep.py --overwrite")
    if manifest[[column for column in MANIFEST_COLUMNS if column not in metres]].isna().any(axis=None):
        raise UserError(f"{path}: has a row that is cut; run dataset_prep.py --overwrite")
    if not manifest["split"].isin(SPLITS).all():
        raise UserError(f"{path}: has a split other than {', '.join(SPLITS)}; run dataset_prep.py --overwrite")
    return manifest
