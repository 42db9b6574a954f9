"""The part `simulate` of detect_changes.py: options, and what is done with them."""

import argparse
from datetime import date
from pathlib import Path

from sarship.change.simulator.areas import Options, read_options
from sarship.change.simulator.series import DEFAULT_START, check, simulate_series
from sarship.change.simulator.settlements import FIELD_SHARE
from sarship.command import UserError
from sarship.pool import available_cores

SERIES = Path("change", "series")  # below --out


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of the simulator."""
    add = parser.add_argument
    add("--areas", type=int, default=3, metavar="N", help="areas, in folders of their own")
    add("--regions", type=int, default=1, metavar="N", help="regions the areas lie in, in turn, each with its weather")
    add("--fields", type=float, default=FIELD_SHARE, metavar="SHARE", help="share of each area that is farmed")
    add("--size", type=int, default=512, metavar="PX", help="rows and columns of an area, pixels of 10 m")
    add("--start", type=_date, default=DEFAULT_START, metavar="DATE", help="first day, written 2019-07-01")
    add("--days", type=int, default=540, metavar="N", help="length of the period; eight images in twelve days")
    add("--seed", type=int, default=1, metavar="N", help="another seed is another land, with another weather")
    add("--missing", type=float, default=0.1, metavar="SHARE", help="share of the images that are missing")
    add("--lee-window", type=int, default=5, metavar="PX", help="window of the speckle filter, odd; 1 for none")
    add("--workers", type=int, default=available_cores(), metavar="N", help="processes that draw images")
    add("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="replace another series")


def run(chosen: argparse.Namespace) -> None:
    """Simulate the series at <out>/change/series, unless it is there.

    Raises UserError for an option out of range, or if a series that was simulated with other options is there.
    """
    names = ("areas", "size", "start", "days", "seed", "missing", "lee_window", "regions", "fields")
    options = Options(**{name: getattr(chosen, name) for name in names})
    check(options)
    if chosen.workers < 1:
        raise UserError(f"--workers {chosen.workers}: must be 1 or more")
    folder = chosen.out / SERIES
    if not chosen.overwrite and folder.exists():
        _refuse_other(folder, options)
        print(f"{folder} is up to date (--overwrite makes it again)")
        return
    simulate_series(folder, **vars(options), workers=chosen.workers)
    print(f"{folder}: {options.areas} areas of {options.size} x {options.size} pixels")


def _refuse_other(folder: Path, options: Options) -> None:
    """UserError if the series was made with other options, or is none of the simulator's."""
    found = sorted(folder.glob("*/simulation.json"))
    if not found:
        raise UserError(f"{folder}: is no simulated series; replace it with --overwrite or choose another --out")
    there, _ = read_options(found[0])
    for name, value in vars(options).items():
        was = getattr(there, name)
        if was != value:
            raise UserError(
                f"{folder}: was simulated with --{name.replace('_', '-')} {was}; replace it with --overwrite or choose "
                "another --out"
            )


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write it as 2019-07-01") from error
