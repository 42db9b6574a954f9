"""Which run may begin when, whoever carries them out."""

from collections.abc import Callable, Sequence

from sarship.engines import Engine
from sarship.failures import Failures
from sarship.planning import needs
from sarship.runs import Run


def schedule(
    waiting: Sequence[Run],
    engine: Engine,
    order_of: Callable[[Run], object],
    done: Callable[[Run, str | None], None],
    failures: Failures,
) -> None:
    """Have every run of `waiting` carried out, in their order as far as there is room; those that start from others
    come after these, and not at all if one of them failed.

    order_of: what the engine is told of a run that begins now. done: what is to be done when a run is, with why it
    failed; it adds to `failures`.
    """
    ahead = _ahead(waiting)
    todo = {run.stem: run for run in waiting}
    running: dict[str, Run] = {}
    while todo or running:
        for run in list(todo.values()):
            why = failures.why_not(needs(run))
            if why:
                done(todo.pop(run.stem), why)
            elif not engine.has_room():
                break
            elif not any(stem in todo or stem in running for stem in ahead[run.stem]):
                running[run.stem] = todo.pop(run.stem)
                engine.start(order_of(run))
        for stem, why in engine.finished() if running else ():
            done(running.pop(stem), why)


def _ahead(waiting: Sequence[Run]) -> dict[str, list[str]]:
    """By stem, the runs that each must wait for: those it starts from, and the first one that trains its weights."""
    ahead: dict[str, list[str]] = {}
    first_with: dict[str, str] = {}
    for run in waiting:
        ahead[run.stem] = list(needs(run))
        first = first_with.setdefault(run.training_key, run.stem)
        if run.training_key and first != run.stem:
            ahead[run.stem].append(first)
    return ahead
