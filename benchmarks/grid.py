"""The five-model grid, test_models.py beside the plain loop of reference.py: seconds, peak memory and scores.

    python benchmarks/grid.py --write                        # the figures of README.md
    python benchmarks/grid.py --size 224 --chips 40 --epochs 2 --memory-size 0
    python benchmarks/grid.py --vs="--precision float32"     # what one switch costs or gains, measured the same way
    python benchmarks/grid.py --models CNN --vs=--compile

Claim, on 2 cores: 5 times faster over the grid, 15 times for the frozen models, 1.8 times for those trained from
scratch, half the peak memory, and scores inside each other's interval. Both sides train the same networks on the same
simulated chips from the same first weights, with the same loss, learning rates, batch size, flips and epochs. Each
model is one process a side, timed as its user waits for it, imports and tests included; the sides take turns at going
first.
"""

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from drawn_chips import FEWEST, draw_prepared
from side_by_side import Measured, command_line, machine, measure, run_python, table, write_section

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models import MODELS, SHIP_MODELS  # noqa: E402
from sarship.command import log  # noqa: E402

EXTENT_M = 512  # of simulated chips, as dataset_prep.py has it
START = "Fusar"  # whose chips the backbones of the frozen models were trained on
OURS, REFERENCE = "test_models.py", "reference loop"
SCRATCH, FROZEN, GRID = "trained from scratch", "frozen", "grid"
TIMES_FASTER = {SCRATCH: 1.8, FROZEN: 15.0, GRID: 5.0}  # the goals
MEMORY_SHARE = 0.5


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--size", type=int, default=64, help="pixels a side")
    add("--chips", type=int, default=400, help="simulated chips of each of the two data sets; Mixed has both")
    add("--epochs", type=int, default=10)
    add("--batch-size", type=int, default=64, help="as published")
    add("--models", nargs="+", choices=list(SHIP_MODELS), default=list(SHIP_MODELS))
    add("--backbone", choices=["trained", "imagenet", "random"], default="trained",
        help=f"where frozen backbones start on both sides; trained: what {OURS} makes of {START}")  # fmt: skip
    add("--seed", type=int, default=1)
    add("--memory-size", type=int, default=224, help="pixels a side of a short pass for peak memory; 0: the grid's own")
    add("--memory-chips", type=int, nargs=2, default=[64, 256], metavar=("TRAIN", "TEST"),
        help="in that pass, which lasts one epoch; a large test set, as evaluation takes larger batches")  # fmt: skip
    add("--vs", metavar="SWITCHES", help=f"compare {OURS} with itself plus these switches, instead of the reference")
    add("--next-seed", action=argparse.BooleanOptionalAction, default=True,
        help=f"train once more by {OURS} with the next seed: how far scores move by chance alone")  # fmt: skip
    add("--workdir", type=Path, metavar="DIR", help="empty or new folder that keeps chips, models and tables")
    add("--write", action="store_true", help="put the result into README.md")
    chosen = parser.parse_args(argv)
    if chosen.write and (chosen.vs is not None or set(chosen.models) != set(SHIP_MODELS)):
        parser.error("--write: README.md shows all models against the reference; leave out --vs and --models")
    if chosen.workdir and chosen.workdir.exists() and any(chosen.workdir.iterdir()):
        parser.error(f"--workdir {chosen.workdir}: is not empty, and what is done already would take no time")
    chosen.command_line = command_line(Path(__file__), argv)
    return chosen


@dataclass(frozen=True)
class Pass:
    """What is trained: models on all sets that are prepared, and where the frozen ones start."""

    models: list[str]
    epochs: int
    batch_size: int
    backbone_of: Callable[[str], str]


@dataclass(frozen=True)
class Side:
    """One way of training. folder: with a prepared/ of its own, so that nothing one side keeps there serves the other.

    switches: of test_models.py; None is the reference loop.
    """

    name: str
    folder: Path
    seed: int
    switches: tuple[str, ...] | None

    def command(self, model: str, wanted: Pass) -> list[str]:
        common = ["--out", self.folder, "--models", model, "--epochs", wanted.epochs]
        common += ["--batch-size", wanted.batch_size, "--backbone", wanted.backbone_of(model)]
        if self.switches is None:
            common += ["--seed", self.seed, "--table", self._table(model)]
            return run_python(ROOT / "benchmarks" / "reference.py", *common)
        common += ["--seeds", self.seed, "--loss", "cross_entropy", "--augment", "published"]
        return run_python(ROOT / "test_models.py", *common, "--no-baselines", "--no-figures", *self.switches)

    def scores(self, model: str) -> pd.DataFrame:
        """Rows of `model`, a training and a test set each, with the columns of scores.csv."""
        rows = pd.read_csv(self._table(model))
        return rows[rows["Model"] == model]

    def _table(self, model: str) -> Path:
        return self.folder / (f"{model}.csv" if self.switches is None else "scores.csv")


@dataclass(frozen=True)
class Outcome:
    """What one model took and gave on one side."""

    took: Measured
    scores: pd.DataFrame


@dataclass(frozen=True)
class Pair:
    """Both sides of one model: `other` is the reference loop, or test_models.py with the switches of --vs."""

    other: Outcome
    ours: Outcome


def side(work: Path, name: str, seed: int, switches: tuple[str, ...] | None) -> Side:
    """A side with its copy of prepared/ below `work`."""
    folder = Path(tempfile.mkdtemp(prefix="side-", dir=work))
    shutil.copytree(work / "prepared", folder / "prepared")
    return Side(name, folder, seed, switches)


def sides(work: Path, chosen: argparse.Namespace) -> tuple[Side, Side]:
    """What is compared: the reference loop or --vs, and test_models.py."""
    switches = None if chosen.vs is None else tuple(shlex.split(chosen.vs))
    return side(work, other_name(chosen), chosen.seed, switches), side(work, OURS, chosen.seed, ())


def other_name(chosen: argparse.Namespace) -> str:
    return REFERENCE if chosen.vs is None else f"`{chosen.vs}`"


def train(side: Side, model: str, wanted: Pass) -> Outcome:
    """Train one model on every prepared set, on one side."""
    took = measure(side.command(model, wanted))
    log(f"{model}, {side.name}, seed {side.seed}: {took.seconds:.1f} s, {gib(took.peak_bytes)} GiB")
    return Outcome(took, side.scores(model))


def in_turns(other: Side, ours: Side, wanted: Pass) -> dict[str, Pair]:
    """Train every model on both sides: `other` goes first for the first model, `ours` for the second, and so on."""
    pairs = {}
    for index, model in enumerate(wanted.models):
        order = (other, ours) if index % 2 == 0 else (ours, other)
        outcomes = {each.name: train(each, model, wanted) for each in order}
        pairs[model] = Pair(outcomes[other.name], outcomes[ours.name])
    return pairs


def grid(work: Path, chosen: argparse.Namespace) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """Every model on three data sets of simulated chips: both sides, and ours beside ours with the next seed."""
    prepare = ["--demo", "--demo-chips", chosen.chips, "--extent", EXTENT_M, "--spacing", EXTENT_M / chosen.size]
    measure(run_python(ROOT / "dataset_prep.py", "--out", work, "--seed", chosen.seed, *prepare))
    other, ours = sides(work, chosen)
    models = sorted(dict.fromkeys(chosen.models), key=lambda model: MODELS[model].frozen)  # bases first

    def backbone_of(model: str) -> str:
        if not MODELS[model].frozen:
            return "random"
        return str(model_file(ours.folder, MODELS[model].base)) if chosen.backbone == "trained" else chosen.backbone

    wanted = Pass(models, chosen.epochs, chosen.batch_size, backbone_of)
    if chosen.backbone == "trained":
        for base in {MODELS[model].base for model in models if MODELS[model].frozen} - set(models):
            measure([*ours.command(base, wanted), "--trained", START])
    pairs = in_turns(other, ours, wanted)
    if not chosen.next_seed:
        return pairs, {}
    again = side(work, f"{OURS}, next seed", chosen.seed + 1, ())
    return pairs, {model: Pair(train(again, model, wanted), pairs[model].ours) for model in models}


def model_file(folder: Path, model: str) -> Path:
    """What test_models.py made of `model` on START."""
    (path,) = (folder / "trained_models").glob(f"{model}_{START}_*.pt")
    return path


def memory_pass(work: Path, chosen: argparse.Namespace) -> dict[str, Pair]:
    """Every model for one epoch on one data set of drawn chips of the memory size."""
    train, test = chosen.memory_chips
    draw_prepared(work, {"train": train, "val": FEWEST, "test": test}, chosen.memory_size, (START,), chosen.seed)
    models = list(dict.fromkeys(chosen.models))
    return in_turns(*sides(work, chosen), Pass(models, 1, chosen.batch_size, lambda model: "random"))


def groups(models: list[str]) -> dict[str, list[str]]:
    """The models of each row that sums up several, as far as there are any."""
    found = {
        SCRATCH: [model for model in models if not MODELS[model].frozen],
        FROZEN: [model for model in models if MODELS[model].frozen],
        GRID: models,
    }
    return {name: members for name, members in found.items() if members}


def seconds_table(pairs: Mapping[str, Pair], other: str, has_goals: bool) -> str:
    """Seconds of each model and group on both sides, and how many times faster ours is."""
    rows = []
    for name, members in ({model: [model] for model in pairs} | groups(list(pairs))).items():
        theirs = sum(pairs[model].other.took.seconds for model in members)
        own = sum(pairs[model].ours.took.seconds for model in members)
        goal = TIMES_FASTER.get(name) if has_goals else None
        rows.append([name, f"{theirs:.1f}", f"{own:.1f}", f"{theirs / own:.2f}", *verdict(goal, theirs / own)])
    return table(["seconds", other, OURS, "times faster", "goal", "met"], rows)


def verdict(goal: float | None, reached: float) -> list[str]:
    """Goal and whether it is reached, both empty where there is none."""
    return ["", ""] if goal is None else [f"{goal:g}", "yes" if reached >= goal else "no"]


def memory_table(pairs: Mapping[str, Pair], other: str, has_goals: bool) -> str:
    """Peak memory of each model, and the largest of all models, on both sides."""
    rows = []
    for name, members in ({model: [model] for model in pairs} | {"largest": list(pairs)}).items():
        theirs = max(pairs[model].other.took.peak_bytes for model in members)
        own = max(pairs[model].ours.took.peak_bytes for model in members)
        verdicts = [f"{MEMORY_SHARE:g}", "yes" if own / theirs <= MEMORY_SHARE else "no"] if has_goals else ["", ""]
        rows.append([name, gib(theirs), gib(own), f"{own / theirs:.2f}", *verdicts])
    return table(["peak memory, GiB", other, OURS, "share", "goal", "met"], rows)


def gib(count: float) -> str:
    return f"{count / 2**30:.2f}"


def cells(pair: Pair) -> pd.DataFrame:
    """A row a training and test set: scores of both sides, and whether each lies in the other's interval."""
    both = pair.other.scores.merge(pair.ours.scores, on=["Trained", "Tested"], suffixes=("", "_ours"), validate="1:1")
    if not len(both) == len(pair.other.scores) == len(pair.ours.scores):
        raise ValueError("the sides did not train and test on the same sets")
    ours_inside = both["MacroF1_ours"].between(both["MacroF1_low"], both["MacroF1_high"])
    other_inside = both["MacroF1"].between(both["MacroF1_low_ours"], both["MacroF1_high_ours"])
    return both.assign(Inside=ours_inside & other_inside)


def scores_table(pairs: Mapping[str, Pair], other: str) -> str:
    """Macro-F1 of each network on the test chips of its own training set, then all its cells counted."""
    rows = []
    for model, pair in pairs.items():
        both = cells(pair)
        for _, cell in both[both["Trained"] == both["Tested"]].iterrows():
            figures = [
                f"{cell[f'MacroF1{side}']:.1f} [{cell[f'MacroF1_low{side}']:.1f}, {cell[f'MacroF1_high{side}']:.1f}]"
                for side in ("", "_ours")
            ]
            rows.append([f"{model}, {cell['Trained']}", *figures, "yes" if cell["Inside"] else "no"])
        rows.append([f"{model}, all training and test sets", "", "", f"{both['Inside'].sum()} of {len(both)}"])
    return table(["macro-F1 [95 %]", other, OURS, "inside each other"], rows)


def startup(work: Path) -> dict[str, float]:
    """Seconds until each script has imported what it needs, a part of every figure."""
    scripts = {REFERENCE: ROOT / "benchmarks" / "reference.py", OURS: ROOT / "test_models.py"}
    return {name: measure(run_python(script, "--help"), work).seconds for name, script in scripts.items()}


def chip_counts(prepared: Path) -> str:
    """Training and test chips of each prepared set, in words."""
    counts = []
    for path in sorted(prepared.glob("*/manifest.csv")):
        splits = pd.read_csv(path)["split"].value_counts()
        counts.append(f"{path.parent.name} {splits['train']} + {splits['val']} + {splits['test']}")
    return ", ".join(counts)


def report(work: Path, chosen: argparse.Namespace, pairs: Mapping, by_chance: Mapping, memory: Mapping) -> str:
    """The section of README.md, of the pairs by model in the grid, with the next seed, and in the memory pass.

    by_chance, memory: empty where that was not wanted.
    """
    has_goals, other = chosen.vs is None and set(chosen.models) == set(SHIP_MODELS), other_name(chosen)
    starts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in startup(work).items())
    size, batches = f"{chosen.size} x {chosen.size} pixels", f"batches of {chosen.batch_size}"
    short = (
        f"{chosen.memory_size} x {chosen.memory_size} pixels, {chosen.memory_chips[0]} training and "
        f"{chosen.memory_chips[1]} test chips, 1 epoch, backbones random"
    )
    chance = (
        f" Between two seeds of {OURS}, {inside(by_chance)} do: so far do they move by chance." if by_chance else ""
    )
    return "\n\n".join(
        [
            "## The grid on the CPU",
            f"`{chosen.command_line}`, {machine('torch', 'torchvision')}.",
            f"{size}, {chosen.epochs} epochs, {batches}, frozen backbones: {chosen.backbone}. Chips for training + "
            f"validation + test: {chip_counts(work / 'prepared')}. Each model is one process, which trains on each set "
            f"and tests on all. Its start is part of it: {starts}.",
            seconds_table(pairs, other, has_goals),
            f"Most memory that a model's process and its workers held at once; {short if memory else size}, {batches}.",
            memory_table(memory or pairs, other, has_goals),
            f"Scores. Over all models, training and test sets, {inside(pairs)} pairs lie inside each other's interval, "
            f"a bootstrap over vessels, which does not know how training varies.{chance}",
            scores_table(pairs, other),
        ]
    )


def inside(pairs: Mapping[str, Pair]) -> str:
    """How many cells of all models lie inside each other's interval, in words."""
    everything = pd.concat([cells(pair) for pair in pairs.values()])
    return f"{everything['Inside'].sum()} of {len(everything)}"


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    with tempfile.TemporaryDirectory() as folder:
        work = (chosen.workdir or Path(folder)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        pairs, by_chance = grid(work, chosen)
        memory = memory_pass(work / "memory", chosen) if chosen.memory_size else {}
        text = report(work, chosen, pairs, by_chance, memory)
    print(text)
    if chosen.write:
        write_section("grid.py", text)


if __name__ == "__main__":
    main()
