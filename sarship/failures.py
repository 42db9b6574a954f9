"""What becomes of a command when one of its runs fails: the others still run, and all is said at the end."""

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from sarship.command import DiskError, PartlyFailed, UserError, log
from sarship.distributed import is_first, processes
from sarship.files import whole_file

# How allocators put it that there is no more memory, besides their exceptions.
_OUT_OF_MEMORY = ("not enough memory", "out of memory", "alloc_cpu", "CUBLAS_STATUS_ALLOC_FAILED")


class Hopeless(UserError):
    """A run that cannot be trained as it is asked for, in whichever process."""


def attempt(run: Callable[[], None], report: Path) -> str | None:
    """Carry out a run; returns why it failed, None if it did not.

    report: where the traceback of what nobody foresaw goes. Raises DiskError again: on a full disk all others would
    fail, too. Of several processes, only what happens in each of them alike is a failure of the run; after anything
    else they are out of step, and it is raised.
    """
    if is_first():
        report.unlink(missing_ok=True)
    try:
        run()
        return None
    except Exception as error:
        if isinstance(error, DiskError) or (processes() > 1 and not isinstance(error, Hopeless)):
            raise
        why = _why(error, report)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return why


def _why(error: Exception, report: Path) -> str:
    if isinstance(error, UserError):
        return str(error)
    if is_out_of_memory(error):
        error.__traceback__ = None  # its frames hold the tensors that filled the memory
        return "out of memory; try again with a smaller --batch-size"
    with whole_file(report) as written:
        written.write_text("".join(traceback.format_exception(error)))
    return f"{type(error).__name__}: {_first_line(error)} (see {report})"


class Failures:
    """The runs of a command that failed, by stem, and why."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}

    def add(self, stem: str, why: str) -> None:
        self._why[stem] = " ".join(why.split())
        log(f"{stem} failed: {self._why[stem]}")

    def why_not(self, needs: Sequence[str]) -> str | None:
        """Why a run that starts from these cannot be carried out: one of them failed."""
        failed = [need for need in needs if need in self._why]
        return f"starts from {failed[0]}, which failed" if failed else None

    def raise_any(self, runs: int) -> None:
        """Say which of so many runs failed. Raises PartlyFailed if there is one."""
        if not self._why:
            return
        for stem, why in self._why.items():
            log(f"failed: {stem}: {why}")
        raise PartlyFailed(
            f"{len(self._why)} of {runs} runs failed, the others are done; the same command tries them again"
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the device or beside it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
