"""How close simulated chips come to real ones: clutter, contrast, sizes and echo strength, per source and product.

    python benchmarks/simulator_vs_real.py

Needs the real samples in ../shared/data (four OpenSARShip scenes, four FUSAR-Ship chips); says so where there are
none.
Writes benchmarks/simulator_vs_real.md.
"""

import argparse
import datetime
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy
import tifffile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sarship.archives import open_source  # noqa: E402
from sarship.readers import Rejected  # noqa: E402
from sarship.readers.fusar import read_fusar  # noqa: E402
from sarship.readers.opensarship import read_opensarship  # noqa: E402
from sarship.simulator import simulate_archives  # noqa: E402

REAL = ROOT.parent / "shared" / "data"
TABLE = Path(__file__).with_suffix(".md")
MOST_BYTES = 10**10
CLASSES = ("Cargo", "Fishing", "Tanker")
SMALLEST_SIDE = 41  # of chips whose rim is large enough to correlate
SHORTEST_M = 70  # the bright part of the smallest ship in the real FUSAR-Ship chips; their AIS lengths are not known
# What the table cannot say of itself; to be looked at again when the simulator or the samples change.
REMARKS = """
What remains apart, and why:

- *The real samples are few.* 124 of the 149 GRD chips are of one harbour scene (Tokyo Bay, single-pol), so their spread
  of weather and of ship sizes is that of one afternoon; the nine SLC chips are of one anchorage of bulk carriers that
  all lie near the track, which makes their sides short and their echoes strong, and the simulated ones are of two
  scenes, one of them with little wind; of the four FUSAR-Ship chips neither lengths nor wind nor incidence are known.
- *GRD*: medians agree, within 1 dB for sea and echo and 1.6 dB for contrast. Real rims vary more in the upper
  quantile: other ships, quays and their side lobes stand there, and none is simulated. The simulated sea is spread
  more widely, over more scenes.
- *FUSAR-Ship, contrast*: the real four stand 25 to 34 dB above their sea, which is the upper part of the simulated;
  so are the saturated shares, and their side-lobe crosses are longer. With the same law of echo strength, which GRD
  confirms, this says calmer seas or samples chosen because they are clear, and four chips cannot tell which.
- *FUSAR-Ship, sea*: the real amplitude varies by 0.57 to 0.60 (0.55 to 0.59 in clean corners) and the simulated by 0.53
  to 0.58; over two columns the real one correlates more (0.21 to 0.37 against 0.12 to 0.21), as an image does that
  was resampled. How the official chips were resampled is not published, so it is not imitated.
- Nothing here moves: no azimuth displacement, no defocus, no wakes; no azimuth ambiguities, which some real chips show.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, default=400, help="simulated chips a data set")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not REAL.is_dir():
        sys.exit(f"{REAL}: is absent; this comparison needs the real samples there")
    with tempfile.TemporaryDirectory() as folder:
        begin = time.process_time()
        fusar, opensarship = simulate_archives(Path(folder), options.chips, options.seed)
        seconds = time.process_time() - begin
        chips = sum(len(_read(*args)) for args in ((fusar, read_fusar), (opensarship, read_opensarship)))
        chips += len(_read(opensarship, read_opensarship, product="slc"))
        tables = [
            _table("OpenSARShip, GRD, VV", *_opensarship(opensarship, "grd")),
            _table("OpenSARShip, SLC, VV", *_opensarship(opensarship, "slc")),
            _table(f"FUSAR-Ship, simulated vessels from {SHORTEST_M} m on", *_fusar(fusar)),
        ]
    speed = f"{chips} chips, other classes and SLC included, in {seconds:.1f} s of processor time: "
    speed += f"{chips / seconds:.0f} a second."
    TABLE.write_text("\n".join([_header(options), *tables, speed, REMARKS]), encoding="utf-8")
    print(TABLE.read_text(encoding="utf-8"))


def _header(options: argparse.Namespace) -> str:
    command = f"python benchmarks/simulator_vs_real.py --chips {options.chips} --seed {options.seed}"
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    return (
        "# Simulated and real chips\n\n"
        f"{datetime.date.today().isoformat()}, `{command}`, {versions}.\n"
        "Each cell: 5 %, **50 %**, 95 % over the chips.\n"
    )


def _opensarship(archive: Path, product: str) -> tuple[dict, dict]:
    folder = REAL / "opensarship"
    return tuple(
        _columns(
            [chip.pixels for chip in _read(source, read_opensarship, product=product)],
            _read(source, read_opensarship, product=product, pixels="calibrated"),
        )
        for source in (folder, archive)
    )


def _fusar(archive: Path) -> tuple[dict, dict]:
    real = [tifffile.imread(file) for file in sorted((REAL / "fusar").glob("*/*.tiff"))]
    simulated = [chip.pixels for chip in _read(archive, read_fusar) if chip.length_m >= SHORTEST_M]
    return _columns(real, []), _columns(simulated, [])


def _read(path: Path, reader, **options) -> list:
    with open_source(path, MOST_BYTES) as source:
        return [chip for chip in reader(source, **options) if not isinstance(chip, Rejected) and _known(chip)]


def _known(chip) -> bool:
    return chip.category in (*CLASSES, "Passenger", "Tug", "Other", "Other Type")


def _columns(grey: list[np.ndarray], calibrated: list) -> dict[str, np.ndarray]:
    """Each quantity over the chips: name to values."""
    large = [pixels for pixels in grey if pixels.shape[0] >= SMALLEST_SIDE]
    columns = {
        "chips": np.array([len(grey)]),
        "side, px": np.array([pixels.shape[0] for pixels in grey]),
        "sea: variation of intensity": np.array([_variation(_rim(pixels) ** 2) for pixels in large]),
        "sea: variation of amplitude": np.array([_variation(_rim(pixels)) for pixels in large]),
        "sea: correlation of amplitude, next row": np.array([_correlation(_rim(pixels), 1, 0) for pixels in large]),
        "sea: correlation of amplitude, next column": np.array([_correlation(_rim(pixels), 0, 1) for pixels in large]),
        "sea: correlation of amplitude, column after next": np.array([_correlation(_rim(p), 0, 2) for p in large]),
        "sea: correlation of amplitude, four columns on": np.array([_correlation(_rim(p), 0, 4) for p in large]),
        "sea: median grey level": np.array([np.median(_rim(pixels)) for pixels in grey]),
        "saturated pixels, %": np.array([100 * np.mean(pixels == 255) for pixels in grey]),
        "brightest 1 % over sea, dB": np.array([_contrast_db(pixels) for pixels in grey]),
    }
    if calibrated:
        columns["sea: sigma nought, dB"] = np.array([10 * np.log10(_rim(chip.pixels).mean()) for chip in calibrated])
        columns["peak sigma nought, dB"] = np.array([10 * np.log10(chip.pixels.max()) for chip in calibrated])
        columns["peak pixel's part of the echo, %"] = np.array([_peak_part(chip.pixels) for chip in calibrated])
        columns["echo over 0.08 L^(7/3), dB"] = np.array([_echo_db(chip) for chip in calibrated if chip.length_m > 0])
    return columns


def _rim(pixels: np.ndarray) -> np.ndarray:
    """The darker of the outer sixths at top and bottom, (rows, cols) float: sea, where no neighbour is in the way."""
    rows = max(2, pixels.shape[0] // 6)
    return min(pixels[:rows], pixels[-rows:], key=np.mean).astype(float)


def _variation(values: np.ndarray) -> float:
    return values.std() / values.mean()


def _correlation(values: np.ndarray, rows: int, cols: int) -> float:
    here, there = values[: values.shape[0] - rows, : values.shape[1] - cols], values[rows:, cols:]
    return float(np.corrcoef(here.ravel(), there.ravel())[0, 1])


def _contrast_db(pixels: np.ndarray) -> float:
    brightest = np.sort(pixels.ravel())[-max(1, pixels.size // 100) :].astype(float)
    return 20 * np.log10(brightest.mean() / max(0.5, np.median(_rim(pixels))))


def _ship(sigma0: np.ndarray) -> np.ndarray:
    """The middle half of a chip less the mean of the sea: all of the ship, and few of its neighbours."""
    quarter = sigma0.shape[0] // 4
    return sigma0[quarter:-quarter, quarter:-quarter] - _rim(sigma0).mean()


def _peak_part(sigma0: np.ndarray) -> float:
    return 100 * sigma0.max() / _ship(sigma0).sum()


def _echo_db(chip) -> float:
    area_m2 = chip.row_spacing_m * chip.col_spacing_m
    echo_m2 = max(_ship(chip.pixels).sum(), 1e-3) * area_m2
    return 10 * np.log10(echo_m2 / (0.08 * chip.length_m ** (7 / 3)))


def _table(title: str, real: dict, simulated: dict) -> str:
    lines = [f"## {title}", "", "| | real | simulated |", "|---|---|---|"]
    lines += [f"| {name} | {_cell(real[name])} | {_cell(simulated[name])} |" for name in real]
    return "\n".join([*lines, ""])


def _cell(values: np.ndarray) -> str:
    if len(values) == 1:
        return f"{values[0]}"
    low, middle, high = (f"{value:.3g}" for value in np.percentile(values, [5, 50, 95]))
    return f"{low}, **{middle}**, {high}"


if __name__ == "__main__":
    main()
