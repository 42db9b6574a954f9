"""What is said and written of runs while they are carried out, by whichever engine: progress, tables, and what is
tracked."""

import argparse
from collections.abc import Sequence

from tqdm import tqdm

from sarship.command import log
from sarship.distributed import is_first
from sarship.engines import Message
from sarship.failures import Failures
from sarship.ledger import Ledger
from sarship.model_card import write_model_card
from sarship.run_report import title_of, warn_if_collapsed
from sarship.runs import Run
from sarship.tracking import Tracking
from sarship.waiting import drop_weights

SHOWN = 3  # runs beside the bar


class Bookkeeping:
    """Hears of runs that are carried out. Keeps the tables up to date, says what is under way, and takes away what is
    not needed any longer. Of several processes, only the first one does.

    runs: all of the command; waiting: those that are to be carried out. side_by_side: whether several are at once;
    their epochs stand beside the bar then.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        waiting: Sequence[Run],
        chosen: argparse.Namespace,
        ledger: Ledger,
        tracking: Tracking,
        side_by_side: bool,
    ):
        self.failures = Failures()
        self._chosen, self._ledger, self._tracking = chosen, ledger, tracking
        self._side_by_side = side_by_side
        self._open = {run.stem: run for run in waiting}
        self._kept = [run for run in runs if run.stem not in self._open]
        self._epochs: dict[str, int] = {}
        self._bar = tqdm(total=len(waiting), unit=" runs", disable=None)
        for run in self._kept if is_first() else ():
            run.checkpoint(chosen.out).remove()  # of a command that was killed in the moment between

    def hear(self, message: Message) -> None:
        """Of a run that is not done; of one that is, a worker that was given up may still speak, and is not heard."""
        stem = message.stem
        if stem not in self._open:
            return
        if message.kind == "begun":
            run = self._open[stem]
            again = " again, in another process" if stem in self._epochs else ""
            self._say(f"{title_of(run)}, seed {run.seed}{again}")
            self._epochs[stem] = 0
            self._tracking.began(run)
        elif message.kind == "epoch":
            self._epochs[stem] = message.value["epoch"]
            self._tracking.epoch(stem, message.value)
        else:
            self._say(f"{stem}: {message.value}")
        self._show()

    def done(self, run: Run, why: str | None) -> None:
        """A run is done; why: why it failed, None if it did not."""
        del self._open[run.stem]
        self._epochs.pop(run.stem, None)
        self._bar.clear()
        if why is not None:
            self.failures.add(run.stem, why)
            self._tracking.failed(run.stem, why)
        elif is_first():
            self._take_in(run)
        self._bar.update()
        self._show()

    def _take_in(self, run: Run) -> None:
        self._ledger.add(run.path(self._chosen.out))
        rows = self._ledger.rows([run])
        view = self._ledger.views(run.settings)
        write_model_card(run.path(self._chosen.out), rows, view, self._chosen.weights)
        warn_if_collapsed(run, rows)
        self._tracking.ended(run.stem, rows)
        self._ledger.write_if_cheap()
        self._kept.append(run)
        if not self._chosen.weights:
            self._kept = drop_weights(self._kept, list(self._open.values()), self._chosen.out)

    def close(self) -> None:
        """Write the tables, whatever happened."""
        self._bar.close()
        self._tracking.close()
        if is_first():
            self._ledger.write()

    def _say(self, line: str) -> None:
        # Not tqdm.external_write_mode: its lock is that of all forks, and would stay locked were one killed within.
        self._bar.clear()
        log(line)
        self._bar.refresh()

    def _show(self) -> None:
        if self._side_by_side:
            shown = [f"{stem} {epoch}/{self._chosen.epochs}" for stem, epoch in self._epochs.items()]
            more = [f"{len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
            self._bar.set_postfix_str(", ".join(shown[:SHOWN] + more))
