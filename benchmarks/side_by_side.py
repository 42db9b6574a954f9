"""What every benchmark needs: a command's seconds and peak memory, the machine, and a section of README.md.

Two ways of doing the same are always measured in one run and in turns, so that what else the machine does, and how
warm it is, falls on both.
"""

import os
import platform
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil

README = Path(__file__).with_name("README.md")
# Walking the page tables of some GB takes milliseconds; more often would slow down what is measured.
SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class Measured:
    """One command. peak_bytes: most memory that it and its children held at once, shared pages counted once."""

    seconds: float
    peak_bytes: int
    output: str


def measure(command: Sequence[str | Path], folder: Path | None = None) -> Measured:
    """Run a command to its end, in `folder`. Raises RuntimeError with the end of its errors if it fails.

    Memory is the sum of proportional set sizes over the process and its children, sampled every SAMPLE_SECONDS (Linux).
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.monotonic()
        process = psutil.Popen([str(part) for part in command], cwd=folder, stdout=output, stderr=errors)
        peak_bytes = 0
        while process.poll() is None:
            peak_bytes = max(peak_bytes, _tree_bytes(process))
            try:
                process.wait(SAMPLE_SECONDS)
            except psutil.TimeoutExpired:
                continue
        seconds = time.monotonic() - started
        for file in (output, errors):
            file.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}: {errors.read()[-2000:]}")
        return Measured(seconds, peak_bytes, output.read())


def _tree_bytes(process: psutil.Process) -> int:
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        pass  # it ended while it was looked at: the next sample has what is left
    return total


def machine(*packages: str) -> str:
    """One line for a table: date, processor, cores, memory, Python, and the versions of `packages`."""
    memory_gib = psutil.virtual_memory().total / 2**30
    versions = [f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)]
    return f"{date.today()}, {_processor()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, {', '.join(versions)}"


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", described.read_text()) if described.exists() else None
    return found[1] if found else platform.machine()


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is text, all others are figures, to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def read_section(name: str, readme: Path = README) -> str:
    """What stands between <!-- name --> and <!-- /name --> in README.md. Raises ValueError without the marks."""
    return _parts(name, readme)[1].strip()


def write_section(name: str, text: str, readme: Path = README) -> None:
    """Replace what stands between <!-- name --> and <!-- /name --> in README.md; ValueError without the marks."""
    before, _, after = _parts(name, readme)
    readme.write_text(f"{before}\n{text.strip()}\n{after}")


def _parts(name: str, readme: Path) -> tuple[str, str, str]:
    """README.md up to and with the first mark of a section, what is between its marks, and the rest."""
    content = readme.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if content.count(begin) != 1 or content.count(end) != 1 or content.index(end) < content.index(begin):
        raise ValueError(f"{readme}: needs {begin} and then {end}, once each")
    start, stop = content.index(begin) + len(begin), content.index(end)
    return content[:start], content[start:stop], content[stop:]


def command_line(script: Path, argv: Sequence[str] | None) -> str:
    """The command that a section of README.md names, without --workdir: a place on this machine means nothing there."""
    given = shlex.join(sys.argv[1:] if argv is None else argv)
    return re.sub(r" ?--workdir[= ]\S+", "", f"python benchmarks/{script.name} {given}".strip())


def run_python(script: Path, *arguments: str | Path) -> list[str]:
    """The command line of a script under the Python that runs this one."""
    return [sys.executable, str(script), *map(str, arguments)]
