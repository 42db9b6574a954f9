"""Thousands of damaged archives, each given to dataset_prep.py: it reads what is right, or refuses in one line.

    python benchmarks/damaged_archives.py                          # 2,000 cases, some 10 minutes on one core
    python benchmarks/damaged_archives.py --cases 200 --seed 7
    python benchmarks/damaged_archives.py --only 1234 --folder look # one case again, its files left in look/

The archives are the simulator's, small, in every form that is read, and the smaller real ones where they lie beside
the checkout (see whole_archives.py); what is done to them is in damage.py, what a run must keep to in watched.py:

- it ends within 30 s and 2 GB with status 0 or 2, prints no traceback, and writes nothing outside --out;
- on 2, the last line names the command and the archive, and there is no prepared/;
- on 0, the chips are those of the undamaged archive, or the output says that some were left out. Where no sum stands
  against the damage (a tar has none for contents, and a file that was packed again has a right one), pixels and rows
  may differ, but no chip may be lost without a word.

summary.png is drawn for undamaged archives only: it would take nine tenths of the time, and shows what is prepared.

The same seed gives the same cases, as long as the same real archives are there. Exit status 1 if a case fails.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
from side_by_side import command_line, machine, table, write_section
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from damage import ANY, CONTENT, INSIDE, TAR, ZIP, Damage, packed_in_gzip  # noqa: E402
from watched import Command, Ran, first_run, outcome, run_watched  # noqa: E402
from whole_archives import Whole, whole_archives  # noqa: E402

import dataset_prep  # noqa: E402

GOOD = ("refused", "as undamaged", "some left out, and said", "other content, no checksum")
STRICT_PERCENT, LENIENT_PERCENT = "1", "100"  # --max-bad: as it is, and so that single bad chips don't end a run


@dataclass(frozen=True)
class Case:
    """One damaged archive. is_guarded: whether sums stand against all that was damaged."""

    number: int
    whole: Whole
    damage: str
    data: bytes
    is_guarded: bool
    max_bad: str

    def arguments(self, path: Path) -> list[str]:
        return [*self.whole.arguments(path), "--max-bad", self.max_bad]


@dataclass(frozen=True)
class Done:
    """A case that was run. came_to: one of GOOD, or the kind of fault; wrong: the fault in words, "" without one."""

    case: Case
    ran: Ran
    came_to: str
    wrong: str


def main(argv: list[str] | None = None, command: Command = dataset_prep.main) -> int:
    options = _options(argv)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = options.folder.resolve() if options.folder else Path(temporary)
        wholes = whole_archives(folder / "simulated")
        numbers = range(options.cases) if options.only is None else [options.only]
        done = run_cases([(options.seed, number) for number in numbers], wholes, folder, command)
        if options.only is not None:
            print(done[0].ran.stdout, done[0].ran.stderr, sep="\n")
    text = report(done, options.command_line)
    print(text)
    if options.write:
        write_section(Path(__file__).name, text)
    return int(any(each.wrong for each in done))


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, metavar="N", help="this case alone, and what it printed")
    parser.add_argument("--folder", type=Path, help="for the files of the cases (without: a temporary one)")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    options = parser.parse_args(argv)
    options.command_line = command_line(Path(__file__), argv)
    return options


def damages(whole: Whole) -> dict[str, Damage]:
    """All that can be done to an archive."""
    kinds = dict(ANY)
    if whole.form == "zip":
        kinds |= ZIP | CONTENT if not whole.nested else ZIP | INSIDE
    elif whole.form == "tar":
        kinds |= TAR
    elif whole.form == "tar.gz":
        inner = {**ANY, **TAR}
        kinds |= {f"{name}, then gzip": packed_in_gzip(damage) for name, damage in inner.items()}
    return kinds


def make_case(seed: int, number: int, wholes: list[Whole]) -> Case:
    """The same for the same seed, number and archives."""
    rng = np.random.default_rng([seed, number])
    kinds = sorted({whole.kind for whole in wholes})
    kind = kinds[rng.integers(len(kinds))]
    some = [whole for whole in wholes if whole.kind == kind]
    whole = some[rng.integers(len(some))]
    possible = damages(whole)
    damage = list(possible)[rng.integers(len(possible))]
    data = possible[damage](whole.data, rng)
    is_guarded = whole.form != "tar" and damage not in CONTENT and not damage.endswith("then gzip")
    return Case(number, whole, damage, data, is_guarded, str(rng.choice([STRICT_PERCENT, LENIENT_PERCENT])))


def run_cases(seeds: list[tuple[int, int]], wholes: list[Whole], folder: Path, command: Command) -> list[Done]:
    """Run the cases of (seed, number), one after the other, in `folder`."""
    undamaged = {}
    place = folder / "case"
    for whole in wholes:
        if command is dataset_prep.main and not undamaged:
            path = folder / whole.file_name
            path.write_bytes(whole.data)
            first_run(command, [*whole.arguments(path), "--out", str(folder / "first"), "--workers", "1"])
        undamaged[whole.file_name, whole.kind] = run_watched(
            command, whole.arguments, whole.file_name, whole.data, place
        )
    with patch.object(dataset_prep, "dataset_summary"):
        cases = (make_case(*seed, wholes) for seed in tqdm(seeds, unit=" cases", disable=None))
        return [_done(case, undamaged, place, command) for case in cases]


def _done(case: Case, undamaged: dict[tuple[str, str], Ran], folder: Path, command: Command) -> Done:
    name = case.whole.file_name
    ran = run_watched(command, case.arguments, name, case.data, folder)
    return Done(case, ran, *outcome(ran, undamaged[name, case.whole.kind], name, case.is_guarded))


def report(done: list[Done], command: str) -> str:
    """The section of README.md: outcomes by kind of damage and by archive, the slowest, the largest, what failed."""
    slowest, largest = max(done, key=lambda each: each.ran.seconds), max(done, key=lambda each: each.ran.peak_bytes)
    failed = [each for each in done if each.wrong]
    lines = [f"- Case {each.case.number}, {_name(each)}: {each.came_to}: {each.wrong}" for each in failed]
    advice = "see one again with the same --seed, --only NUMBER and --folder DIR" if failed else "none"
    return "\n\n".join([
        "## Damaged archives",
        f"`{command}`, {machine()}.",
        f"{len(done):,} cases, {len(failed)} of them failed. Slowest: {slowest.ran.seconds:.1f} s ({_name(slowest)}); "
        f"most memory: {largest.ran.peak_bytes / 1e6:.0f} MB ({_name(largest)}), with what every process shares.",
        _counts(done, "damage", lambda each: each.case.damage),
        _counts(done, "archive", lambda each: each.case.whole.kind),
        "\n".join([f"Failed: {advice}.", *lines]),
    ])  # fmt: skip


def _name(each: Done) -> str:
    return f"{each.case.whole.kind}, {each.case.damage}"


def _counts(done: list[Done], what: str, kind_of) -> str:
    counts = Counter((kind_of(each), each.came_to) for each in done)
    faults = sorted({each.came_to for each in done} - set(GOOD))
    columns = [*GOOD, *faults]
    rows = [(kind, *(counts[kind, column] for column in columns)) for kind in sorted({kind for kind, _ in counts})]
    return table((what, *columns), rows)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
