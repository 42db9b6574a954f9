"""What becomes of a command when one of its runs fails: the others still run, and all is said at the end."""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from sarship.command import DiskError, PartlyFailed, UserError, log
from sarship.files import whole_file

# How allocators put it that there is no more memory, besides their exceptions.
_OUT_OF_MEMORY = ("not enough memory", "out of memory", "alloc_cpu", "CUBLAS_STATUS_ALLOC_FAILED")


class Failures:
    """The runs of a command that failed, by stem, and why."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}

    @contextmanager
    def noted(self, stem: str, report: Path) -> Iterator[None]:
        """Takes note of what goes wrong in the block, with the stem of the run it is about.

        report: where the traceback of what nobody foresaw goes. Raises DiskError again: on a full disk all others
        would fail, too.
        """
        report.unlink(missing_ok=True)
        try:
            yield
        except DiskError:
            raise
        except UserError as error:
            self._note(stem, str(error))
        except Exception as error:
            if is_out_of_memory(error):
                self._note(stem, "out of memory; try again with a smaller --batch-size")
                error.__traceback__ = None  # its frames hold the tensors that filled the memory
            else:
                with whole_file(report) as written:
                    written.write_text(traceback.format_exc())
                self._note(stem, f"{type(error).__name__}: {_first_line(error)} (see {report})")
        else:
            return
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def stands_on_one(self, stem: str, needs: Sequence[str]) -> bool:
        """Whether the run `stem` starts from one that failed, which is a failure, too."""
        failed = [need for need in needs if need in self._why]
        if failed:
            self._note(stem, f"starts from {failed[0]}, which failed")
        return bool(failed)

    def raise_any(self, runs: int) -> None:
        """Say which of so many runs failed. Raises PartlyFailed if there is one."""
        if not self._why:
            return
        for stem, why in self._why.items():
            log(f"failed: {stem}: {why}")
        raise PartlyFailed(
            f"{len(self._why)} of {runs} runs failed, the others are done; the same command tries them again"
        )

    def _note(self, stem: str, why: str) -> None:
        self._why[stem] = " ".join(why.split())
        log(f"{stem} failed: {self._why[stem]}")


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the device or beside it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
