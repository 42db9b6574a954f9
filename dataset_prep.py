"""Command 1: raw archives -> prepared/. Reads, splits and merges FUSAR-Ship and OpenSARShip, or land-use scenes.

    python dataset_prep.py                                          # archives in raw/
    python dataset_prep.py --fusar FUSAR_Ship1.0.zip --opensarship OpenSARShip_2.zip
    python dataset_prep.py --demo                                   # simulated archives, no download
    python dataset_prep.py --geometry chip --split published        # as the published code prepared them
    python dataset_prep.py --level subcategory --classes BulkCarrier ContainerShip Tanker
    python dataset_prep.py --scenes UCMerced=UCMerced_LandUse.zip --train-percent 80 --out ucmerced
    python dataset_prep.py --scenes Paris=paris.zip Terrassa=terrassa.zip --join --size 64 --out buildings

Writes prepared/Fusar/, prepared/OpenSARShip/ and, with both sources, prepared/Mixed/; of scenes, prepared/<NAME>/ and,
with --join, Mixed. Prints classes by splits and what was left out and why.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby, product
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from sarship.archives import Source, open_source
from sarship.classes import LEVELS
from sarship.command import UserError, byte_count, command_parser, log, parse, run_command
from sarship.figures import dataset_summary
from sarship.files import whole_folder
from sarship.locking import locked
from sarship.pool import Pool, available_cores
from sarship.preparation import Outcome, Preparation, Task
from sarship.prepared import SPLITS, read_manifest, read_options
from sarship.readers import Reader
from sarship.splits import SCENE_SPLIT_METHODS, SPLIT_METHODS
from sarship.staging import Staging, mix
from sarship.subjects import SHIP_CLASSES, Subject, check_subject, subject_of

MOST_CLASSES_ACROSS = 8  # in a table on the terminal


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
    add("--classes", nargs="+", metavar="NAME", help=f"ships to prepare (without: {' '.join(SHIP_CLASSES)})")
    add("--allow-missing", action=argparse.BooleanOptionalAction, default=False, help="accept a class without chips")
    # -- what becomes of them
    add("--geometry", choices=["metric", "chip"], default="metric", help="one scale, or each chip to 224 x 224")
    add("--extent", type=float, default=512, metavar="METRES", help="ground extent of a metric chip")
    add("--spacing", type=float, default=4, metavar="METRES", help="pixel spacing of a metric chip")
    add("--split", choices=sorted({*SPLIT_METHODS, *SCENE_SPLIT_METHODS}),
        help="what stays together; see sarship/splits.py (without: vessel; of scenes, random)")  # fmt: skip
    add("--seed", type=int, default=1, help="of the split, the continued sea and the simulation")
    # -- land-use scenes instead of ships
    add(
        "--scenes",
        nargs="+",
        metavar="NAME=PATH",
        help="sets of images in class folders: zip, rar, tar or folder; "
        "AID, NWPU, UCMerced, WHU, EuroSAT and others in sarship/scene_sets.py are held against what is published",
    )
    add("--train-percent", type=float, default=80, metavar="PERCENT", help="images for training, val included")
    add("--val-percent", type=float, default=10, metavar="PERCENT", help="of those, images that pick the epoch")
    add("--size", type=int, metavar="PIXELS", help="a side of prepared images (without: the set's own)")
    add("--bands", choices=["rgb", "grey"], default="rgb", help="what all images become")
    add("--white", type=int, metavar="VALUE", help="of 16-bit images (without: the set's own, or 65535)")
    add("--join", action=argparse.BooleanOptionalAction, default=False,
        help="make Mixed of the sets, whose classes have the same names")  # fmt: skip
    # -- how
    add("--workers", type=int, default=available_cores(), metavar="N", help="processes that read and resample")
    # -- limits
    add("--max-bad", type=float, default=1.0, metavar="PERCENT", help="unreadable chips that are put up with")
    add("--max-bytes", type=byte_count, default="200G", metavar="SIZE", help="refuse archives that unpack to more")
    add("--overwrite", action=argparse.BooleanOptionalAction, default=False, help="replace another prepared/")
    chosen = parse(parser, "dataset_prep", argv)
    _check(chosen)
    check_subject(chosen, parser)
    return chosen


def _check(chosen: argparse.Namespace) -> None:
    if chosen.workers < 1:
        raise UserError(f"--workers {chosen.workers}: must be 1 or more")
    if not 0 <= chosen.max_bad <= 100:
        raise UserError(f"--max-bad {chosen.max_bad:g}: must be a percentage, 0 to 100")


@dataclass(frozen=True, eq=False)
class Opened:
    """An open source of a data set, and who reads it."""

    dataset: str
    path: Path
    source: Source
    reader: Reader


def open_sources(subject: Subject, max_bytes: int, stack: ExitStack) -> list[Opened]:
    """The sources of all data sets, in the order of the options; `stack` closes them."""
    readers = {dataset: subject.reader(dataset) for dataset in subject.paths}
    return [
        Opened(dataset, path, stack.enter_context(open_source(path, max_bytes)), readers[dataset])
        for dataset, dataset_paths in subject.paths.items()
        for path in dataset_paths
    ]


def tasks(sources: list[Opened]) -> Iterator[tuple[tuple[Opened, Task], Task]]:
    """All parts of all sources: what is known of each here, and what a worker gets."""
    parts = ((opened, part) for opened in sources for part in opened.reader.parts(opened.source))
    for number, (opened, part) in enumerate(parts):
        task = Task(number, part)
        yield (opened, task), task


def stage(
    outcomes: Iterator[tuple[tuple[Opened, Task], Outcome]], staging: Staging, chosen: argparse.Namespace
) -> None:
    """Take every wanted chip and count the rest; UserError, naming the archives, if too many are unreadable."""
    flawed = []
    with tqdm(unit=" chips", disable=None) as bar:
        for opened, of_source in groupby(outcomes, key=lambda item: item[0][0]):
            bar.set_description(opened.path.name)
            tally, before = Counter(), staging.unreadable
            for (_, task), outcome in of_source:
                opened.source.declare(outcome.declared)
                staging.take(opened.dataset, task, outcome)
                tally += outcome.tally
                bar.update(len(outcome.chips))
            opened.reader.finish(opened.source.name, tally)
            flawed += [opened.source.name] if staging.unreadable > before else []
    bad = staging.unreadable
    if bad and 100 * bad > chosen.max_bad * (bad + staging.taken):
        raise UserError(
            f"{', '.join(flawed)}: {bad} of {bad + staging.taken} chips are unreadable, more than "
            f"--max-bad {chosen.max_bad:g} %: download the archive again, or raise --max-bad"
        )


def split_chips(staging: Staging, subject: Subject, allow_missing: bool) -> pd.DataFrame:
    """The staged chips with their split; UserError naming the counts, if a class has no chips."""
    chips, datasets = staging.chips(), list(subject.paths)
    archives = ", ".join(path.name for paths in subject.paths.values() for path in paths)
    classes = subject.classes(chips)
    if not allow_missing:
        counts = chips.groupby(["dataset", "class"]).size()
        _check_counts(archives, counts, [(dataset,) for dataset in datasets], classes)
    if chips.empty:
        raise UserError(f"{archives}: no chips of {', '.join(classes) or 'any class'} in there")
    chips["split"] = subject.split(chips)
    if not allow_missing:
        counts = chips.groupby(["dataset", "split", "class"]).size()
        _check_counts(archives, counts, list(product(datasets, sorted(set(chips["split"])))), classes)
    return chips


def _check_counts(archives: str, counts: pd.Series, parts: list[tuple[str, ...]], classes: list[str]) -> None:
    for part in parts:
        row = {name: int(counts.get((*part, name), 0)) for name in classes}
        if row and min(row.values()) == 0:
            listed = ", ".join(f"{name} {count}" for name, count in row.items())
            raise UserError(
                f"{archives}: {' '.join(part)} has a class without chips ({listed}); "
                "choose others with --classes, or accept it with --allow-missing"
            )


def count_table(chips: pd.DataFrame, subject: Subject) -> str:
    """Chips and vessels by data set, split and class, for the terminal; many classes go down instead of across."""
    is_mixed, classes = subject.joins and chips["dataset"].nunique() > 1, subject.classes(chips)
    both = pd.concat([chips, chips.assign(dataset="Mixed")]) if is_mixed else chips
    table = both.pivot_table(index=["dataset", "split"], columns="class", values="chip", aggfunc="count", fill_value=0)
    order = [(dataset, split) for dataset in both["dataset"].unique() for split in SPLITS]
    table = table.reindex([key for key in order if key in table.index]).reindex(columns=classes, fill_value=0)
    table["all"] = table.sum(axis=1)
    table["vessels"] = both[both["vessel"] != ""].groupby(["dataset", "split"])["vessel"].nunique()
    table = table.fillna(0).astype(int)
    return (table if len(classes) <= MOST_CLASSES_ACROSS else table.T).to_string()


def left_out_table(left_out: dict[str, Counter]) -> str:
    """Chips that were not taken, by data set and reason."""
    return pd.DataFrame(left_out).T.fillna(0).astype(int).to_string() if left_out else "nothing was left out"


def report(chips: pd.DataFrame, staging: Staging, subject: Subject, prepared: Path) -> None:
    print("Chips of each class, and known vessels:\n" + count_table(chips, subject))
    print("\nLeft out:\n" + left_out_table(staging.left_out))
    print("".join(f"\n{line}" for line in subject.remarks(chips)), end="")
    print(f"\n\nPrepared: {prepared}")


def describe(subject: Subject, sources: list[Opened]) -> dict:
    """What prepared/ depends on: options and the content of the archives."""
    archives: dict[str, list[str]] = {}
    for opened in sources:
        archives.setdefault(f"{opened.dataset} {opened.path.name}", []).append(opened.source.fingerprint())
    return {"options": subject.settings(), "archives": archives}


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


def write(chips: pd.DataFrame, staging: Staging, folder: Path, subject: Subject, pool: Pool) -> None:
    """The chips at their places, manifests and summaries; Mixed if there is more than one data set to join."""
    staging.move_into_place(chips, folder)
    datasets = list(subject.paths)
    if subject.joins and len(datasets) > 1:
        mix(chips, folder)
    elif subject.joins:
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
    subject = subject_of(chosen)
    with ExitStack() as stack:
        stack.enter_context(locked(chosen.out, "prepared"))
        with ExitStack() as files:
            opened = open_sources(subject, chosen.max_bytes, files)
            geometry = subject.geometry(opened[0].source)
            description = describe(subject, opened)
            if is_up_to_date(chosen, description):
                print(f"{chosen.out / 'prepared'} is up to date (--overwrite makes it again)")
                return
            folder = stack.enter_context(whole_folder(chosen.out / "prepared"))
            preparation = Preparation(folder / ".staging", geometry, subject.class_of, subject.names_dataset)
            preparation.folder.mkdir()
            pool = stack.enter_context(Pool(partial(work, preparation), chosen.workers))
            staging = Staging(preparation)
            stage(pool.map(tasks(opened)), staging, chosen)
        del opened  # with the directories of the archives
        chips = split_chips(staging, subject, chosen.allow_missing)
        write(chips, staging, folder, subject, pool)
        (folder / "options.json").write_text(json.dumps(description, indent=1, sort_keys=True) + "\n")
    report(chips, staging, subject, chosen.out / "prepared")


if __name__ == "__main__":
    run_command(main)
