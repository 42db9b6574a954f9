"""Small whole archives of every kind that dataset_prep.py reads, as bytes: what damaged_archives.py damages.

Made of the simulator's archives, with fewer and smaller chips, so that headers are a fair share of the bytes. Real ones
come on top where they lie beside the checkout.
"""

import gzip
import io
import tarfile
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import tifffile
from damage import zip_of
from PIL import Image

from sarship.simulator import simulate_archives
from sarship.simulator.packing import packbits_tiff
from tests.official import rar_bytes

CLASSES = ("Cargo", "Fishing", "Tanker")
CHIPS, SIDE_PX, SCENES = 36, 48, 3
LARGEST_REAL_BYTES = 1_000_000
SHIPS = ("--allow-missing", "--split", "published", "--spacing", "16")
REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Whole:
    """An archive. form: "zip", "tar", "tar.gz" or "rar"; nested: whether archives lie in it.

    option: what --fusar, --opensarship or --scenes NAME= stands before its path; others: what else the command gets.
    """

    kind: str
    file_name: str
    data: bytes
    form: str
    option: str
    others: tuple[str, ...]
    nested: bool = False

    def arguments(self, path: Path) -> list[str]:
        own = [self.option + str(path)] if self.option.endswith("=") else [self.option, str(path)]
        return [*(["--scenes"] if self.option.endswith("=") else []), *own, *self.others]


def whole_archives(folder: Path, real: Path = REAL) -> list[Whole]:
    """All of them; the simulator writes into `folder`."""
    fusar_zip, opensarship_zip = simulate_archives(folder, CHIPS, seed=1)
    fusar, scenes = _fusar_files(fusar_zip), _scene_zips(opensarship_zip)
    first, *rest = scenes
    in_rar = {
        first.replace(".zip", ".rar"): rar_bytes(_files_of(scenes[first])),
        **{name: scenes[name] for name in rest},
    }
    pictures = _class_folders(fusar)
    deflated = zipfile.ZIP_DEFLATED
    return [
        Whole("FUSAR zip", "FUSAR.zip", zip_of(fusar), "zip", "--fusar", SHIPS),
        Whole("FUSAR zip, deflated", "FUSAR.zip", zip_of(fusar, deflated), "zip", "--fusar", SHIPS),
        Whole("FUSAR tar", "FUSAR.tar", tar_of(fusar), "tar", "--fusar", SHIPS),
        Whole("FUSAR tar.gz", "FUSAR.tar.gz", gzip.compress(tar_of(fusar), 1, mtime=0), "tar.gz", "--fusar", SHIPS),
        Whole("FUSAR rar", "FUSAR.rar", rar_bytes(fusar), "rar", "--fusar", SHIPS),
        Whole("scenes zip", "OpenSARShip.zip", zip_of(scenes), "zip", "--opensarship", SHIPS, nested=True),
        Whole("scenes zip, deflated", "OpenSARShip.zip", zip_of(scenes, deflated), "zip", "--opensarship", SHIPS, True),
        Whole("scenes, one rar", "OpenSARShip.zip", zip_of(in_rar), "zip", "--opensarship", SHIPS, nested=True),
        Whole("class folders zip", "land.zip", zip_of(pictures), "zip", "Land=", ()),
        Whole("class folders tar", "land.tar", tar_of(pictures), "tar", "Land=", ()),
        Whole("class folders tar.gz", "land.tgz", gzip.compress(tar_of(pictures), 1, mtime=0), "tar.gz", "Land=", ()),
        *_real_archives(real),
    ]  # fmt: skip


def tar_of(files: dict[str, bytes]) -> bytes:
    """A tar without dates."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name.rstrip("/"))
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _files_of(data: bytes | Path) -> dict[str, bytes]:
    with zipfile.ZipFile(data if isinstance(data, Path) else io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def _fusar_files(path: Path) -> dict[str, bytes]:
    """meta.csv and four chips of each class, cut to their middle."""
    files, taken = {}, Counter()
    for name, data in _files_of(path).items():
        category = PurePosixPath(name).parts[1]
        if name.endswith(".csv"):
            files[name] = data
        elif data and category in CLASSES and taken[category] < 4:
            taken[category] += 1
            files[name] = packbits_tiff(_middle(data), rows_per_strip=16)
    return files


def _middle(data: bytes) -> np.ndarray:
    pixels = tifffile.imread(io.BytesIO(data))
    top, left = ((side - SIDE_PX) // 2 for side in pixels.shape)
    return pixels[top : top + SIDE_PX, left : left + SIDE_PX]


def _scene_zips(path: Path) -> dict[str, bytes]:
    """A few GRD scenes with two chips of each class, without what is never read."""
    scenes = {name: data for name, data in _files_of(path).items() if "GRD" in name}
    return {name: zip_of(_few_chips(_files_of(data))) for name, data in list(scenes.items())[:SCENES]}


def _few_chips(files: dict[str, bytes]) -> dict[str, bytes]:
    few, taken = {}, Counter()
    for name, data in files.items():
        kind = PurePosixPath(name).name.removeprefix("Visual_").partition("_")[0]
        if name.endswith(".xml"):
            few[name] = data
        elif "Patch_Uint8" in name and "_vh" not in name and taken[kind] < 2:
            taken[kind] += 1
            few[name] = data
    return few


def _class_folders(fusar: dict[str, bytes]) -> dict[str, bytes]:
    pictures = {}
    for name, data in fusar.items():
        if name.endswith(".tiff"):
            buffer = io.BytesIO()
            Image.fromarray(tifffile.imread(io.BytesIO(data))).save(buffer, "PNG")
            pictures[f"Land/{PurePosixPath(name).parts[1]}/{PurePosixPath(name).stem}.png"] = buffer.getvalue()
    return pictures


def _real_archives(real: Path) -> list[Whole]:
    """The smaller real scene archives, and the real rar archives, which hold no chips: all of those are refused."""
    scenes = [path for path in sorted(real.glob("opensarship/*.zip")) if path.stat().st_size < LARGEST_REAL_BYTES]
    rars, both = sorted(real.glob("rar/*.rar")), (*SHIPS, "--product", "both")
    return [
        *(Whole("real scene", path.name, path.read_bytes(), "zip", "--opensarship", both) for path in scenes),
        *(Whole("real rar", path.name, path.read_bytes(), "rar", "Land=", ()) for path in rars),
    ]  # fmt: skip
