"""Runs an hour side by side on one machine and on a Ray cluster, and what an engine adds to each run.

    python benchmarks/scale.py --write                # the figures of README.md
    python benchmarks/scale.py --runs 2 --chips 100   # a quick look

Claim: what --jobs and --ray add to a run is below 3 s, and below 5 % of a run of one minute. A study is --runs runs of
the CNN, which differ in the seed, one thread each. Measured, each as a command of its own from start to end:

    one after another       the command without an engine, with one thread and with two
    two commands at once    half of the seeds each, started by hand: what --jobs 2 has to be held against
    --jobs 2
    --ray, one processor    a cluster of one worker: held against one after another
    --ray, two processors   held against two commands at once

What an engine adds to a run is the difference of the two times, over the runs that a processor had. It has in it what
workers take to start, once for all their runs; starting the cluster itself is left out.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drawn_chips import draw_prepared, split_counts
from side_by_side import command_line, machine, measure, run_python, table, write_section

ROOT = Path(__file__).resolve().parent.parent
GOAL_SECONDS, GOAL_SHARE, MINUTE = 3.0, 0.05, 60.0
STORE_BYTES = 80 * 2**20  # of Ray's objects: orders and rows are small


@dataclass(frozen=True)
class Way:
    """A way to carry out the study: its seconds, runs that a processor had, and the way that it is held against."""

    name: str
    seconds: float
    runs_a_processor: float
    against: str = ""


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--runs", type=int, default=16, help="of the study, an even number")
    add("--chips", type=int, default=200)
    add("--side", type=int, default=64, help="of a chip, pixels")
    add("--epochs", type=int, default=1)
    add("--workdir", type=Path, help="where everything is written (without: a temporary folder)")
    add("--write", action="store_true", help="put the result into README.md")
    chosen = parser.parse_args(argv)
    if chosen.runs < 2 or chosen.runs % 2:
        parser.error("--runs: must be even, two or more")
    chosen.command_line = command_line(Path(__file__), argv)
    return chosen


def draw(chosen: argparse.Namespace, out: Path) -> Path:
    draw_prepared(out, split_counts(chosen.chips), chosen.side, ("Fusar",))
    return out


def study(chosen: argparse.Namespace, out: Path, seeds: range, *words: str) -> float:
    """Seconds of the command for runs with these seeds."""
    options = ["--models", "CNN", "--no-baselines", "--no-figures", "--device", "cpu", "--precision", "float32"]
    options += ["--epochs", chosen.epochs, "--seeds", *seeds, "--out", out, *words]
    return measure(run_python(ROOT / "test_models.py", *map(str, options))).seconds


def at_once(chosen: argparse.Namespace, folder: Path) -> float:
    """Seconds until the later of two commands is done, each with half of the runs."""
    half = chosen.runs // 2
    parts = [(folder / "first", range(1, half + 1)), (folder / "second", range(half + 1, chosen.runs + 1))]
    for out, _ in parts:
        draw(chosen, out)
    with ThreadPoolExecutor(2) as pool:  # a thread that waits for each
        return max(pool.map(lambda part: study(chosen, *part, "--cpus-per-run", "1"), parts))


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """The address of a Ray cluster of a head that computes nothing, and workers of one processor each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE_BYTES})
    try:
        for _ in range(workers):
            made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        yield made.address
    finally:
        made.shutdown()


def all_ways(chosen: argparse.Namespace, folder: Path) -> Iterator[Way]:
    seeds, one = range(1, chosen.runs + 1), ("--cpus-per-run", "1")
    yield Way("one after another, one thread", study(chosen, draw(chosen, folder / "serial"), seeds, *one), chosen.runs)
    yield Way(
        "one after another, two threads",
        study(chosen, draw(chosen, folder / "threads"), seeds, "--cpus-per-run", "2"),
        chosen.runs,
    )
    yield Way("two commands at once", at_once(chosen, folder / "hand"), chosen.runs / 2)
    seconds = study(chosen, draw(chosen, folder / "jobs"), seeds, "--jobs", "2", *one)
    yield Way("--jobs 2", seconds, chosen.runs / 2, "two commands at once")
    for workers, against in ((1, "one after another, one thread"), (2, "two commands at once")):
        with cluster(workers) as address:
            seconds = study(chosen, draw(chosen, folder / f"ray{workers}"), seeds, "--ray", address, *one)
        yield Way(f"--ray, {workers} processor{'s' * (workers > 1)}", seconds, chosen.runs / workers, against)


def row(way: Way, seconds: dict[str, float], runs: int) -> list[str]:
    cells = [way.name, f"{way.seconds:.1f}", f"{3600 * runs / way.seconds:.0f}"]
    if not way.against:
        return [*cells, "", "", ""]
    added = (way.seconds - seconds[way.against]) / way.runs_a_processor
    is_met = added < GOAL_SECONDS and added / MINUTE < GOAL_SHARE
    return [*cells, f"{added:.2f}", f"{100 * added / MINUTE:.1f} %", "yes" if is_met else "no"]


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    with tempfile.TemporaryDirectory(dir=chosen.workdir) as folder:
        ways = []
        for way in all_ways(chosen, Path(folder)):
            print(f"{way.name}: {way.seconds:.1f} s", file=sys.stderr, flush=True)
            ways.append(way)
    seconds = {way.name: way.seconds for way in ways}
    header = ["", "seconds", "runs an hour", "added to a run, s", "of a minute", f"below {GOAL_SECONDS:g} s and 5 %"]
    text = (
        "## Engines: many runs\n\n"
        f"`{chosen.command_line}`, {machine('torch', 'ray')}.\n\n"
        f"{chosen.runs} runs of the CNN, {chosen.side} x {chosen.side} pixels, {chosen.chips} chips, {chosen.epochs} "
        f"epoch{'s' * (chosen.epochs > 1)}, one thread each but where it says two. Ray's cluster is on the "
        "same machine, its processes too.\n\n" + table(header, [row(way, seconds, chosen.runs) for way in ways])
    )
    print(text)
    if chosen.write:
        write_section("scale.py", text)


if __name__ == "__main__":
    main()
