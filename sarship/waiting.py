"""Which runs are still to be trained, and whose weights are still needed."""

import argparse
from pathlib import Path

from sarship.command import UserError
from sarship.planning import needs
from sarship.runs import Run, drop_state, has_state, is_done, model_path


def runs_to_train(runs: list[Run], chosen: argparse.Namespace) -> list[Run]:
    """The runs that are not done yet, start from one that is not, or whose weights are needed again; in their order."""
    waiting: dict[str, Run] = {}
    for run in runs:
        starts_from_waiting = False
        for stem in needs(run):
            if stem in waiting:
                starts_from_waiting = True
            elif not model_path(chosen.out, stem).is_file():
                path = model_path(chosen.out, stem)
                raise UserError(
                    f"--backbone {chosen.backbone}: {run.stem} needs {path}, which is not there; train it too"
                )
        if chosen.overwrite or starts_from_waiting or not is_done(run, chosen.out):
            waiting[run.stem] = run
    by_stem = {run.stem: run for run in runs}
    for run in reversed(runs):  # what a run starts from is before it
        for stem in needs(run) if run.stem in waiting else ():
            path = model_path(chosen.out, stem)
            if stem not in waiting and not has_state(path):
                if stem not in by_stem:
                    raise UserError(f"{path}: was made with --no-weights, and {run.stem} starts from it; train it too")
                waiting[stem] = by_stem[stem]  # the same settings give the same weights again
    return [run for run in runs if run.stem in waiting]


def drop_weights(trained: list[Run], waiting: list[Run], out: Path) -> list[Run]:
    """Take the weights out of the model files that no waiting run needs; returns the runs that keep them."""
    stems = {stem for run in waiting for stem in needs(run)}
    keys = {run.training_key for run in waiting}
    needed = [run for run in trained if run.stem in stems or run.training_key in keys]
    for run in trained:
        if run not in needed:
            drop_state(run.path(out))
    return needed


def listing(runs: list[Run], waiting: list[Run], out: Path) -> str:
    """Every run of the command with its state, for --list."""
    names = {run.stem for run in waiting}
    states = [
        "done" if run.stem not in names else "begun" if run.checkpoint(out).path.exists() else "to do" for run in runs
    ]
    lines = [f"{state:<6} {run.stem}" for state, run in zip(states, runs, strict=True)]
    return "\n".join([*lines, f"{len(runs) - len(waiting)} of {len(runs)} runs are done"])
