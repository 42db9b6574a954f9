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
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby, product
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from sarship.archives import Source, open_source
from sarship.classes import LEVELS, class_of
from sarship.command import UserError, byte_count, command_parser, log, parse, run_command
from sarship.figures import dataset_summary
from sarship.files import whole_folder, writable_folder
from sarship.pool import Pool, available_cores
from sarship.preparation import Geometry, Outcome, Preparation, Task
from sarship.prepared import SPLITS, read_manifest, read_options
from sarship.readers import UNREADABLE, Reader
from sarship.readers.fusar import FusarReader
from sarship.readers.opensarship import OpenSARShipReader
from sarship.simulator import simulate_archives
from sarship.splits import SPLIT_METHODS, assign_splits
from sarship.staging import Staging, mix

DOWNLOADS = """no archives in {folder}. Download \
FUSAR_Ship1.0.zip from https://emwlab.fudan.edu.cn/resources/list.htm and \
OpenSARShip_2.zip from https://opensar.sjtu.edu.cn (registration) into {folder}, \
or name them with --fusar and --opensarship, or run with --demo, which needs neither"""


# Options that do not change what is prepared.
_WITHOUT_EFFECT = ("study", "out", "overwrite", "max_bytes", "max_bad", "fusar", "opensarship", "demo", "workers")


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
    # -- how
    add("--workers", type=int, default=available_cores(), metavar="N", help="processes that read and resample")
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
    if chosen.workers < 1:
        raise UserError(f"--workers {chosen.workers}: must be 1 or more")
    if not 0 <= chosen.max_bad <= 100:
        raise UserError(f"--max-bad {chosen.max_bad:g}: must be a percentage, 0 to 100")


def sources(chosen: argparse.Namespace) -> dict[str, list[Path]]:
    """Paths by data set: from the options, from --demo, or from raw/ below --out."""
    raw = chosen.out / "raw"
    if chosen.demo:
        if chosen.fusar or chosen.opensarship:
            raise UserError("--demo simulates the archives: leave out --fusar and --opensarship")
        folder = writable_folder(raw / "demo")
        fusar, opensarship = simulate_archives(folder, chosen.demo_chips, chosen.seed, chosen.workers)
        return {"Fusar": [fusar], "OpenSARShip": [opensarship]}
    named = {"Fusar": [chosen.fusar] if chosen.fusar else [], "OpenSARShip": chosen.opensarship or []}
    if not any(named.values()):
        named = {"Fusar": sorted(raw.glob("FUSAR*")), "OpenSARShip": sorted(raw.glob("OpenSARShip*"))}
    found = {dataset: paths for dataset, paths in named.items() if paths}
    if not found:
        raise UserError(DOWNLOADS.format(folder=raw))
    return found


@dataclass(frozen=True, eq=False)
class Opened:
    """An open source of a data set, and who reads it."""

    dataset: str
    path: Path
    source: Source
    reader: Reader


def open_sources(paths: dict[str, list[Path]], chosen: argparse.Namespace, stack: ExitStack) -> list[Opened]:
    """The sources of all data sets, in the order of the options; `stack` closes them."""
    fusar_class, opensarship_class = (partial(_class_of(chosen), dataset) for dataset in ("Fusar", "OpenSARShip"))
    readers = {
        "Fusar": FusarReader(fusar_class),
        "OpenSARShip": OpenSARShipReader(chosen.pixels, chosen.polarization, chosen.product, opensarship_class),
    }
    return [
        Opened(dataset, path, stack.enter_context(open_source(path, chosen.max_bytes)), readers[dataset])
        for dataset, dataset_paths in paths.items()
        for path in dataset_paths
    ]


def _class_of(chosen: argparse.Namespace) -> Callable[[str, str, str], str]:
    """The class of (data set, category, subcategory); "" for what is not wanted."""
    return partial(class_of, level=chosen.level, classes=chosen.classes)


def tasks(sources: list[Opened]) -> Iterator[tuple[tuple[Opened, Task], Task]]:
    """All parts of all sources: what is known of each here, and what a worker gets."""
    parts = ((opened, part) for opened in sources for part in opened.reader.parts(opened.source))
    for number, (opened, part) in enumerate(parts):
        task = Task(number, part)
        yield (opened, task), task


def stage(
    outcomes: Iterator[tuple[tuple[Opened, Task], Outcome]], staging: Staging, chosen: argparse.Namespace
) -> None:
    """Take every wanted chip and count the rest; UserError if too many are unreadable."""
    with tqdm(unit=" chips", disable=None) as bar:
        for opened, of_source in groupby(outcomes, key=lambda item: item[0][0]):
            bar.set_description(opened.path.name)
            tally: Counter[str] = Counter()
            for (_, task), outcome in of_source:
                opened.source.declare(outcome.declared)
                staging.take(opened.dataset, task, outcome)
                tally += outcome.tally
                bar.update(len(outcome.chips))
            opened.reader.finish(opened.source.name, tally)
    bad = sum(counts[UNREADABLE] for counts in staging.left_out.values())
    if bad and 100 * bad > chosen.max_bad * (bad + staging.taken):
        raise UserError(
            f"{bad} of {bad + staging.taken} chips are unreadable, more than --max-bad {chosen.max_bad:g} %: "
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


def describe(chosen: argparse.Namespace, sources: list[Opened]) -> dict:
    """What prepared/ depends on: options and the content of the archives."""
    settings = {name: value for name, value in vars(chosen).items() if name not in _WITHOUT_EFFECT}
    archives: dict[str, list[str]] = {}
    for opened in sources:
        archives.setdefault(f"{opened.dataset} {opened.path.name}", []).append(opened.source.fingerprint())
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


def write(chips: pd.DataFrame, staging: Staging, folder: Path, datasets: list[str], pool: Pool) -> None:
    """The chips at their places, manifests and summaries; Mixed if there is more than one data set."""
    staging.move_into_place(chips, folder)
    if len(datasets) > 1:
        mix(chips, folder)
    else:
        log(f"only {datasets[0]} was given: Mixed needs both data sets and is not made")
    for _ in pool.map((None, manifest) for manifest in sorted(folder.glob("*/manifest.csv"))):
        pass


def work(preparation: Preparation, task: Task | Path) -> Outcome | None:
    """What a worker does: prepare a part of a source, or draw the summary of a manifest."""
    if isinstance(task, Task):
        return preparation(task)
    return dataset_summary(read_manifest(task), task.parent, task.parent / "summary.png")


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    paths = sources(chosen)
    geometry = Geometry(chosen.geometry, chosen.extent, chosen.spacing, chosen.seed)
    with ExitStack() as stack:
        with ExitStack() as files:
            opened = open_sources(paths, chosen, files)
            description = describe(chosen, opened)
            if is_up_to_date(chosen, description):
                print(f"{chosen.out / 'prepared'} is up to date (--overwrite makes it again)")
                return
            folder = stack.enter_context(whole_folder(chosen.out / "prepared"))
            preparation = Preparation(folder / ".staging", geometry, _class_of(chosen))
            preparation.folder.mkdir()
            pool = stack.enter_context(Pool(partial(work, preparation), chosen.workers))
            staging = Staging(preparation)
            stage(pool.map(tasks(opened)), staging, chosen)
        del opened  # with the directories of the archives
        chips = split_chips(staging, chosen, list(paths))
        write(chips, staging, folder, list(paths), pool)
        (folder / "options.json").write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")
    report(chips, staging, chosen)


if __name__ == "__main__":
    run_command(main)
