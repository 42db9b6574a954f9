"""Command 1: raw archives -> prepared/. Reads, splits and merges FUSAR-Ship and OpenSARShip.

    python dataset_prep.py                                          # archives in raw/
    python dataset_prep.py --fusar FUSAR_Ship1.0.zip --opensarship OpenSARShip_2.zip
    python dataset_prep.py --demo                                   # simulated archives, no download
    python dataset_prep.py --geometry chip --split published        # as the published code prepared them
    python dataset_prep.py --level subcategory --classes BulkCarrier ContainerShip Tanker

Writes prepared/Fusar/, prepared/OpenSARShip/ and, with both sources, prepared/Mixed/; prints classes by splits and
what was left out and why.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from sarship.archives import open_source
from sarship.classes import LEVELS, class_of
from sarship.command import UserError, byte_count, command_parser, log, parse, run_command
from sarship.figures import dataset_summary
from sarship.files import whole_folder, writable_folder
from sarship.prepared import SPLITS, read_manifest, read_options
from sarship.readers import UNREADABLE, Rejected, UniqueNames
from sarship.readers.fusar import read_fusar
from sarship.readers.opensarship import read_opensarship
from sarship.simulator import simulate_archives
from sarship.splits import SPLIT_METHODS, assign_splits
from sarship.staging import Geometry, Staging, mix

DOWNLOADS = """no archives in {folder}. Download \
FUSAR_Ship1.0.zip from https://emwlab.fudan.edu.cn/resources/list.htm and \
OpenSARShip_2.zip from https://opensar.sjtu.edu.cn (registration) into {folder}, \
or name them with --fusar and --opensarship, or run with --demo, which needs neither"""


# Options that do not change what is prepared.
_WITHOUT_EFFECT = ("study", "out", "overwrite", "max_bytes", "max_bad", "fusar", "opensarship", "demo")


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "python dataset_prep.py --fusar FUSAR_Ship1.0.zip --opensarship OpenSARShip_2.zip")
    add = parser.add_argument
    # -- where from
    add("--fusar", type=Path, metavar="PATH", help="FUSAR-Ship 1.0: zip or folder (without: raw/FUSAR*)")
    add("--opensarship", type=Path, nargs="+", metavar="PATH", help="archives, scene archives, folders or scenes")
    add("--demo", action=argparse.BooleanOptionalAction, default=False, help="simulate both archives into raw/ first")
    add("--demo-chips", type=int, default=400, help="simulated chips of each data set")
    # -- which chips
    add("--pixels", choices=["uint8", "calibrated"], default="uint8", help="OpenSARShip: Patch_Uint8 or Patch_Cal")
    add("--polarization", choices=["vv", "vh", "both"], default="vv", help="OpenSARShip; single-pol scenes: their own")
    add("--product", choices=["grd", "slc", "both"], default="grd", help="OpenSARShip")
    add("--level", choices=list(LEVELS), default="category", help="of class names; see sarship/classes.py")
    add("--classes", nargs="+", default=["Cargo", "Fishing", "Tanker"], metavar="NAME", help="classes to prepare")
    add("--allow-missing", action=argparse.BooleanOptionalAction, default=False, help="accept a class without chips")
    # -- what becomes of them
    add("--geometry", choices=["metric", "chip"], default="metric", help="one scale, or each chip to 224 x 224")
    add("--extent", type=float, default=512, metavar="METRES", help="ground extent of a metric chip")
    add("--spacing", type=float, default=4, metavar="METRES", help="pixel spacing of a metric chip")
    add("--split", choices=SPLIT_METHODS, default="vessel", help="what stays together; see sarship/splits.py")
    add("--seed", type=int, default=1, help="of the split, the continued sea and the simulation")
    # -- limits
    add("--max-bad", type=float, default=1.0, metavar="PERCENT", help="unreadable chips that are put up with")
    add("--max-bytes", type=byte_count, default="200G", metavar="SIZE", help="refuse archives that unpack to more")
    add("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="replace another prepared/")
    chosen = parse(parser, "dataset_prep", argv)
    _check(chosen)
    return chosen


def _check(chosen: argparse.Namespace) -> None:
    size = chosen.extent / chosen.spacing if chosen.spacing > 0 else 0
    if not (32 <= size <= 1024 and size == int(size)):
        raise UserError(f"--extent {chosen.extent:g} --spacing {chosen.spacing:g}: must give 32 to 1024 whole pixels")
    if len(set(chosen.classes)) < max(2, len(chosen.classes)):
        raise UserError(f"--classes {' '.join(chosen.classes)}: name two or more different classes")
    if not 0 <= chosen.max_bad <= 100:
        raise UserError(f"--max-bad {chosen.max_bad:g}: must be a percentage, 0 to 100")


def sources(chosen: argparse.Namespace) -> dict[str, list[Path]]:
    """Paths by data set: from the options, from --demo, or from raw/ below --out."""
    raw = chosen.out / "raw"
    if chosen.demo:
        if chosen.fusar or chosen.opensarship:
            raise UserError("--demo simulates the archives: leave out --fusar and --opensarship")
        fusar, opensarship = simulate_archives(writable_folder(raw / "demo"), chosen.demo_chips, chosen.seed)
        return {"Fusar": [fusar], "OpenSARShip": [opensarship]}
    named = {"Fusar": [chosen.fusar] if chosen.fusar else [], "OpenSARShip": chosen.opensarship or []}
    if not any(named.values()):
        named = {"Fusar": sorted(raw.glob("FUSAR*")), "OpenSARShip": sorted(raw.glob("OpenSARShip*"))}
    found = {dataset: paths for dataset, paths in named.items() if paths}
    if not found:
        raise UserError(DOWNLOADS.format(folder=raw))
    return found


def read_chips(paths: dict[str, list[Path]], chosen: argparse.Namespace, stack: ExitStack) -> Iterator:
    """Every Chip or Rejected of every source, with its data set."""
    for dataset, dataset_paths in paths.items():
        names = UniqueNames()
        wanted = partial(_is_wanted, dataset, chosen)
        for path in dataset_paths:
            source = stack.enter_context(open_source(path, chosen.max_bytes))
            if dataset == "Fusar":
                items = read_fusar(source, wanted, names)
            else:
                items = read_opensarship(source, chosen.pixels, chosen.polarization, chosen.product, wanted, names)
            yield from ((dataset, item) for item in tqdm(items, desc=path.name, unit=" chips", disable=None))


def _is_wanted(dataset: str, chosen: argparse.Namespace, category: str, subcategory: str) -> bool:
    return _class(dataset, category, subcategory, chosen) != ""


def _class(dataset: str, category: str, subcategory: str, chosen: argparse.Namespace) -> str:
    return class_of(dataset, category, subcategory, chosen.level, chosen.classes)


def stage(items: Iterator, staging: Staging, chosen: argparse.Namespace) -> None:
    """Write every wanted chip and count the rest; UserError if too many are unreadable."""
    for dataset, item in items:
        if isinstance(item, Rejected):
            staging.leave_out(dataset, item.reason)
            if item.reason == UNREADABLE:
                log(f"skipped {item.source}: {item.detail or 'no readable chip'}")
        else:
            staging.add(item, _class(dataset, item.category, item.subcategory, chosen))
    bad = sum(counts[UNREADABLE] for counts in staging.left_out.values())
    if bad and 100 * bad > chosen.max_bad * (bad + len(staging.records)):
        raise UserError(
            f"{bad} of {bad + len(staging.records)} chips are unreadable, more than --max-bad {chosen.max_bad:g} %: "
            "download the archive again, or raise --max-bad"
        )


def split_chips(staging: Staging, chosen: argparse.Namespace, datasets: list[str]) -> pd.DataFrame:
    """The staged chips with their split; UserError naming the counts, if a class has no chips."""
    chips = staging.chips()
    _check_counts(chips.groupby(["dataset", "class"]).size(), [(dataset,) for dataset in datasets], chosen)
    if chips.empty:
        raise UserError(f"no chips of {', '.join(chosen.classes)} in the archives")
    chips["split"] = assign_splits(chips, chosen.split, chosen.seed)
    counts = chips.groupby(["dataset", "split", "class"]).size()
    _check_counts(counts, list(product(datasets, sorted(set(chips["split"])))), chosen)
    return chips


def _check_counts(counts: pd.Series, parts: list[tuple[str, ...]], chosen: argparse.Namespace) -> None:
    for part in parts:
        row = {name: int(counts.get((*part, name), 0)) for name in chosen.classes}
        if min(row.values()) == 0 and not chosen.allow_missing:
            listed = ", ".join(f"{name} {count}" for name, count in row.items())
            raise UserError(
                f"{' '.join(part)} has a class without chips ({listed}); "
                "choose others with --classes, or accept it with --allow-missing"
            )


def count_table(chips: pd.DataFrame, classes: list[str]) -> str:
    """Chips and vessels by data set, split and class, for the terminal."""
    both = pd.concat([chips, chips.assign(dataset="Mixed")]) if chips["dataset"].nunique() > 1 else chips
    table = both.pivot_table(index=["dataset", "split"], columns="class", values="chip", aggfunc="count", fill_value=0)
    order = [(dataset, split) for dataset in both["dataset"].unique() for split in SPLITS]
    table = table.reindex([key for key in order if key in table.index]).reindex(columns=classes, fill_value=0)
    table["all"] = table.sum(axis=1)
    table["vessels"] = both[both["vessel"] != ""].groupby(["dataset", "split"])["vessel"].nunique()
    return table.fillna(0).astype(int).to_string()


def left_out_table(left_out: dict[str, Counter]) -> str:
    """Chips that were not taken, by data set and reason."""
    return pd.DataFrame(left_out).T.fillna(0).astype(int).to_string() if left_out else "nothing was left out"


def report(chips: pd.DataFrame, staging: Staging, chosen: argparse.Namespace) -> None:
    print("Chips of each class, and known vessels:\n" + count_table(chips, chosen.classes))
    print("\nLeft out:\n" + left_out_table(staging.left_out))
    for dataset, rows in chips.groupby("dataset"):
        unknown = (rows["vessel"] == "").sum()
        print(f"\n{dataset}: {unknown} chips of unknown vessel (a vessel each)", end="")
        if chosen.geometry == "metric":
            share = 100 * rows["continued"].mean()
            print(f"; {share:.1f} % of the chips are smaller than {chosen.extent:g} m, their sea is continued", end="")
    print(f"\n\nPrepared: {chosen.out / 'prepared'}")


def describe(chosen: argparse.Namespace, paths: dict[str, list[Path]]) -> dict:
    """What prepared/ depends on: options and the content of the archives."""
    settings = {name: value for name, value in vars(chosen).items() if name not in _WITHOUT_EFFECT}
    archives: dict[str, list[str]] = {}
    for dataset, dataset_paths in paths.items():
        for path in dataset_paths:
            with open_source(path, chosen.max_bytes) as source:
                archives.setdefault(f"{dataset} {path.name}", []).append(source.fingerprint())
    return {"options": settings, "archives": archives}


def is_up_to_date(chosen: argparse.Namespace, description: dict) -> bool:
    """Whether prepared/ was made of just this. UserError if it was made of something else, without --overwrite."""
    prepared = chosen.out / "prepared"
    if chosen.overwrite or not prepared.exists():
        return False
    found = read_options(chosen.out)
    if found == description:
        return True
    for part in ("options", "archives"):
        for name in sorted(found.get(part, {}).keys() | description[part].keys()):
            was, now = found.get(part, {}).get(name), description[part].get(name)
            if was != now:
                what = (
                    f"--{name.replace('_', '-')} {was}, not {now}" if part == "options" else f"other archives ({name})"
                )
                raise UserError(
                    f"{prepared}: was made with {what}; replace it with --overwrite or choose another --out"
                )
    return False


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    paths = sources(chosen)
    description = describe(chosen, paths)
    if is_up_to_date(chosen, description):
        print(f"{chosen.out / 'prepared'} is up to date (--overwrite makes it again)")
        return
    geometry = Geometry(chosen.geometry, chosen.extent, chosen.spacing, chosen.seed)
    with whole_folder(chosen.out / "prepared") as folder, ExitStack() as stack:
        staging = Staging(folder / ".staging", geometry)
        stage(read_chips(paths, chosen, stack), staging, chosen)
        chips = split_chips(staging, chosen, list(paths))
        staging.move_into_place(chips, folder)
        if len(paths) > 1:
            mix(chips, folder)
        else:
            log(f"only {next(iter(paths))} was given: Mixed needs both data sets and is not made")
        for manifest in sorted(folder.glob("*/manifest.csv")):
            dataset_summary(read_manifest(manifest), manifest.parent, manifest.parent / "summary.png")
        (folder / "options.json").write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")
    report(chips, staging, chosen)


if __name__ == "__main__":
    run_command(main)
