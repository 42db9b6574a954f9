"""A whole area by `detect_changes.py difference`: peak memory and time as the area grows.

    python benchmarks/change_scene.py --write

Areas of so many rows and columns are simulated, five images each, and a U-Net of the published width with first weights
predicts the newest: what its weights are makes no difference to time or memory. The goal is 2 GB at 2,000 x 2,000.
Beside each stands the same in one piece: all images and all squares in memory at once, in a process of its own.
"""

import argparse
import sys
import tempfile
from datetime import date
from pathlib import Path

import torch
from side_by_side import command_line, machine, measure, run_python, table, write_section

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sarship.change.predictor import build, write_model
from sarship.change.series import ELEVATION
from sarship.change.simulator import simulate_series

ROOT = Path(__file__).resolve().parent.parent
GOAL_GB = 2.0
DAYS = 12  # eight passes, of which the last five are used; the fewest that are simulated
IN_ONE_PIECE = Path(__file__).with_name("change_in_one_piece.py")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[500, 1000, 2000])
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--write", action="store_true", help="into benchmarks/README.md")
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        text = report(chosen, Path(folder), command_line(Path(__file__), argv))
    print(text)
    if chosen.write:
        write_section("change_scene.py", text)


def report(chosen: argparse.Namespace, folder: Path, command: str) -> str:
    """The section of README.md."""
    model = folder / "UNet.pt"
    settings = {"patch": chosen.patch, "width": chosen.width, "stochastic_depth": 0.0, "dropout": 0.0, "without": []}
    torch.manual_seed(1)
    write_model(model, build(settings), {"settings": settings}, [])
    rows = [row(size, folder, model) for size in chosen.sizes]
    head = (
        "rows x cols",
        "strips, s",
        "strips, peak GB",
        "in one piece, s",
        "in one piece, peak GB",
        "share of memory",
    )
    largest = rows[-1]
    met = "met" if float(largest[2]) < GOAL_GB else "not met"
    return "\n\n".join([
        "## A whole area of predicted images",
        f"`{command}`, {machine('torch', 'rasterio')}; squares of {chosen.patch} pixels, width {chosen.width}. "
        "The start of Python and PyTorch is part of both.",
        table(head, rows),
        f"Goal at 2,000 x 2,000: below {GOAL_GB:g} GB; at {largest[0]}: {largest[2]} GB, {met}.",
    ])  # fmt: skip


def row(size: int, folder: Path, model: Path) -> tuple[str, ...]:
    series = folder / f"series_{size}"
    simulate_series(series, areas=1, size=size, start=date(2020, 9, 1), days=DAYS, seed=1, missing=0.0)
    [elevation] = series.glob(f"*/{ELEVATION}")
    area = elevation.parent
    strips = measure(
        run_python(ROOT / "detect_changes.py", "difference", area, "--model", model, "--out", folder / f"out_{size}")
    )
    whole = measure(run_python(IN_ONE_PIECE, area, model))
    gigabytes = [each.peak_bytes / 1e9 for each in (strips, whole)]
    return (
        f"{size:,} x {size:,}", f"{strips.seconds:.1f}", f"{gigabytes[0]:.2f}", f"{whole.seconds:.1f}",
        f"{gigabytes[1]:.2f}", f"{gigabytes[0] / gigabytes[1]:.2f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
