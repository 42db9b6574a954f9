"""Preparing archives: chips a second and memory as they grow, beside unzip-then-copy.

    python benchmarks/preparation.py                                  # 1,000 and 10,000 chips, some 6 minutes
    python benchmarks/preparation.py --sizes 1000 10000 50000 --write # half an hour, 35 GB below --folder

Claim: time per chip grows by less than 15 % and memory by less than 100 MB from the smallest to the largest archives,
and a chip takes less than a third of the time that it takes to unzip and copy it as published, on 2 cores.

Chips: half of each size in each data set, drawn by the simulator in the official layout, and packed with deflate as
downloads are (scene archives too; `--stored` leaves them as the simulator writes them).

The reference is the published way, written anew: zipfile unpacks both archives to disk and every scene archive among
what came out, then shutil copies each chip of the wanted classes (VV of GRD scenes) into <set>/<split>/<Class>/,
and a second time into the merged set; one process. It decodes nothing, resamples nothing, finds no duplicates and
no damaged chips, reads no vessel from Ship.xml, and draws no summary: what dataset_prep.py does in addition.

Both run in turns, after a sync, so that neither waits for the other's files. Two times are given: until the command
ends, with what it wrote partly in the page cache, and until all of it is on the disk.
"""

import argparse
import io
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from side_by_side import Measured, command_line, machine, measure, run_python, write_section

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sarship.pool import available_cores  # noqa: E402
from sarship.simulator import simulate_archives  # noqa: E402

CLASSES = ("Cargo", "Fishing", "Tanker")
TRAIN_EVERY = 5  # 20 % train and 80 % test, as published
SLOWER, MORE_MB, FASTER = 15, 100, 3  # percent, MB, times: the claim


@dataclass(frozen=True)
class Run:
    """One command. disk_seconds: what the disk took for the rest of its files after it ended."""

    command: Measured
    disk_seconds: float


@dataclass(frozen=True)
class Way:
    """Repetitions of one way to prepare `chips` chips."""

    chips: int
    runs: list[Run]

    @property
    def ms_per_chip(self) -> float:
        return 1000 * median(run.command.seconds for run in self.runs) / self.chips

    @property
    def ms_per_chip_on_disk(self) -> float:
        return 1000 * median(run.command.seconds + run.disk_seconds for run in self.runs) / self.chips

    @property
    def peak_mb(self) -> float:
        return max(run.command.peak_bytes for run in self.runs) / 1e6


@dataclass(frozen=True)
class Row:
    """One size, both ways."""

    ours: Way
    reference: Way


def main(argv: list[str] | None = None) -> None:
    options = _options(argv)
    if options.reference:
        unzip_then_copy(*options.reference)
        return
    rows = [measured(size, options) for size in options.sizes]
    text = report(rows, options)
    print(text)
    if options.write:
        write_section(Path(__file__).name, text)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000], help="chips of both data sets together")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each, in turns; the median counts")
    parser.add_argument("--workers", type=int, default=available_cores(), help="of dataset_prep.py")
    parser.add_argument("--stored", action="store_true", help="archives without compression")
    parser.add_argument("--folder", type=Path, help="for archives and outputs (without: a temporary one)")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    parser.add_argument("--reference", type=Path, nargs=3, metavar=("FUSAR", "OPENSARSHIP", "OUT"),
                        help="only unzip and copy: what is measured as the reference")  # fmt: skip
    options = parser.parse_args(argv)
    options.command_line = command_line(Path(__file__), argv)
    return options


def measured(size: int, options: argparse.Namespace) -> Row:
    """Make archives of a size, and measure both ways in turns."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        archives = make_archives(Path(folder), size, options.workers, options.stored)
        ours, reference = [], []
        for _ in range(options.repeat):
            ours.append(_run(Path(folder) / "ours", lambda out: _prepare(archives, out, options.workers)))
            chips = len(list((Path(folder) / "ours").glob("prepared/Mixed/*/*/*.png")))
            reference.append(_run(Path(folder) / "reference", lambda out: _reference(archives, out)))
            copied = len(list((Path(folder) / "reference").glob("Mixed/*/*/*")))
            for way, count, runs in (("ours", chips, ours), ("reference", copied, reference)):
                last = runs[-1]
                _say(f"{size}: {way}: {last.command.seconds:.1f} s, {last.disk_seconds:.1f} s of disk, {count} chips")
        return Row(Way(chips, ours), Way(copied, reference))


def make_archives(folder: Path, size: int, workers: int, stored: bool) -> tuple[Path, Path]:
    """FUSAR-Ship and OpenSARShip with half of `size` chips each."""
    _say(f"{size}: simulating")
    archives = simulate_archives(folder, size // 2, seed=1, workers=workers)
    if not stored:
        for archive in archives:
            packed = archive.with_suffix(".packed")
            deflate(archive, packed)
            packed.replace(archive)
    return archives


def deflate(source: Path | io.BytesIO, target: Path | io.BytesIO) -> None:
    """The same zip archive with compressed entries, archives among them included.

    Level 1: a third of the time of the usual one, some hundredths larger, and no harder to unpack.
    """
    packing = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    with zipfile.ZipFile(source) as stored, zipfile.ZipFile(target, "w", **packing) as packed:
        for entry in stored.infolist():
            data = stored.read(entry)
            if entry.filename.endswith(".zip"):
                inner = io.BytesIO()
                deflate(io.BytesIO(data), inner)
                data = inner.getvalue()
            packed.writestr(entry.filename, data)


def _run(out: Path, command: Callable[[Path], list[str]]) -> Run:
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    run = measure(command(out))
    started = time.monotonic()
    os.sync()
    return Run(run, time.monotonic() - started)


def _prepare(archives: tuple[Path, Path], out: Path, workers: int) -> list[str]:
    fusar, opensarship = archives
    words = ["--fusar", fusar, "--opensarship", opensarship, "--out", out, "--workers", str(workers)]
    return run_python(ROOT / "dataset_prep.py", *words)


def _reference(archives: tuple[Path, Path], out: Path) -> list[str]:
    return run_python(Path(__file__), "--reference", *archives, out)


def unzip_then_copy(fusar: Path, opensarship: Path, out: Path) -> None:
    """The published way; see above."""
    unzipped = out / "unzipped"
    _unzip(fusar, unzipped / "Fusar")
    _unzip(opensarship, unzipped / "OpenSARShip")
    for scene in sorted((unzipped / "OpenSARShip").glob("*.zip")):
        _unzip(scene, unzipped / "scenes" / scene.stem)
    for dataset, chips in (("Fusar", _fusar_chips(unzipped)), ("OpenSARShip", _opensarship_chips(unzipped))):
        for number, (chip, class_name, name) in enumerate(chips):
            split = "test" if number % TRAIN_EVERY else "train"
            for target in (dataset, "Mixed"):
                folder = out / target / split / class_name
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(chip, folder / name)


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)


def _fusar_chips(unzipped: Path) -> Iterator[tuple[Path, str, str]]:
    """(file, class, name) of each wanted chip."""
    for class_name in CLASSES:
        for chip in sorted((unzipped / "Fusar").glob(f"*/{class_name}/*/*.tiff")):
            yield chip, class_name, chip.name


def _opensarship_chips(unzipped: Path) -> Iterator[tuple[Path, str, str]]:
    for folder in sorted((unzipped / "scenes").glob("**/Patch_Uint8")):
        scene = folder.relative_to(unzipped / "scenes").parts[0]
        if "_GRDH_" not in scene:
            continue
        for chip in sorted(folder.iterdir()):
            class_name = chip.name.split("_")[1]
            if class_name in CLASSES and not chip.stem.endswith("_vh"):
                yield chip, class_name, f"{scene}_{chip.name}"


def report(rows: list[Row], options: argparse.Namespace) -> str:
    """The table, and what became of the claim."""
    lines = [
        "## Preparation",
        "",
        f"`{options.command_line}`, {machine('numpy', 'imagecodecs')}; {options.workers} workers, archives "
        f"{'stored' if options.stored else 'deflated'}, median of {options.repeat}",
        "",
        "| chips | chips/s | ms a chip | peak MB | unzip-then-copy, ms a chip | ratio | on disk, ms a chip | ratio |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        ours, reference = row.ours, row.reference
        lines.append(
            f"| {ours.chips:,} | {1000 / ours.ms_per_chip:.0f} | {ours.ms_per_chip:.2f} | {ours.peak_mb:.0f} "
            f"| {reference.ms_per_chip:.2f} | {reference.ms_per_chip / ours.ms_per_chip:.1f} "
            f"| {ours.ms_per_chip_on_disk:.2f} against {reference.ms_per_chip_on_disk:.2f} "
            f"| {reference.ms_per_chip_on_disk / ours.ms_per_chip_on_disk:.1f} |"
        )
    return "\n".join([*lines, "", *_claim(rows)])


def _claim(rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        ended = row.reference.ms_per_chip / row.ours.ms_per_chip
        on_disk = row.reference.ms_per_chip_on_disk / row.ours.ms_per_chip_on_disk
        lines.append(f"- Ratio at {row.ours.chips:,} chips: {_met(ended, '>=', FASTER)}")
        lines.append(f"- Ratio at {row.ours.chips:,} chips, until on disk: {_met(on_disk, '>=', FASTER)}")
    first, last = rows[0].ours, rows[-1].ours
    if first is not last:
        growth = 100 * (last.ms_per_chip / first.ms_per_chip - 1)
        lines.append(
            f"- Time a chip from {first.chips:,} to {last.chips:,} chips, percent: {_met(growth, '<', SLOWER)}"
        )
        lines.append(f"- Memory, MB: {_met(last.peak_mb - first.peak_mb, '<', MORE_MB)}")
    return lines


def _met(value: float, sign: str, goal: float) -> str:
    met = value >= goal if sign == ">=" else value < goal
    return f"{value:+.1f} (goal {sign} {goal}: {'met' if met else 'not met'})"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
