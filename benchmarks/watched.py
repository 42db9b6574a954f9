"""One run of a command, watched: in a process of its own, what it says, takes and writes, and what is wrong with that.

The process is a fork of this one, which has imported the command already: a fresh interpreter would take seconds.
"""

import contextlib
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd

from sarship.command import EXIT_USER_ERROR, run_command

Command = Callable[[list[str]], None]

WALL_SECONDS = 30
MOST_BYTES = 2 * 10**9
_SAFETY_BYTES = 16 * 2**30  # of addresses: what takes this much would take the machine with it
SCRIPT = "dataset_prep.py"


@dataclass(frozen=True)
class Ran:
    """What became of a run. status: of its end, None if it was killed at WALL_SECONDS; strays: see `_strays`.

    manifest: of the prepared set, "" if there is none; prepared: whether there is a prepared/.
    """

    status: int | None
    seconds: float
    peak_bytes: int
    stdout: str
    stderr: str
    strays: tuple[str, ...]
    prepared: bool
    manifest: str


def run_watched(
    command: Command, arguments: Callable[[Path], list[str]], file_name: str, data: bytes, folder: Path,
    wall_seconds: float = WALL_SECONDS,
) -> Ran:  # fmt: skip
    """Run `command` on an archive of these bytes, in an emptied `folder`, with --out, TMPDIR and working folder there.

    arguments: the command's, of the archive's path.
    """
    shutil.rmtree(folder, ignore_errors=True)
    places = {name: folder / name for name in ("raw", "out", "cwd", "tmp")}
    for place in places.values():
        place.mkdir(parents=True)
    archive = places["raw"] / file_name
    archive.write_bytes(data)
    before = _tree(folder)
    said = [folder.parent / f"{folder.name}.{stream}" for stream in ("stdout", "stderr")]
    argv = [*arguments(archive), "--out", str(places["out"]), "--workers", "1"]
    status, seconds, peak_bytes = _forked(lambda: _become(command, argv, places, said), wall_seconds)
    stdout, stderr = (path.read_text(errors="replace") for path in said)
    manifests = sorted(places["out"].glob("prepared/*/manifest.csv"))
    return Ran(
        status, seconds, peak_bytes, stdout, stderr, tuple(_strays(before, _tree(folder))),
        (places["out"] / "prepared").exists(), manifests[0].read_text(errors="replace") if manifests else "",
    )  # fmt: skip


def _tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file and folder below, but of folders the name only."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_mtime_ns) if path.is_file() else (0, 0)
        for path in folder.rglob("*")
    }


def _strays(before: dict, after: dict) -> list[str]:
    """What is new, other or gone, but for prepared/ in the output folder."""
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return sorted(name for name in changed if not re.match(r"out/prepared(/|$)", name))


def _forked(work: Callable[[], int], wall_seconds: float) -> tuple[int | None, float, int]:
    """Exit status, seconds and peak memory of `work` in a process of its own; a signal's status is negative."""
    sys.stdout.flush()
    sys.stderr.flush()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os._exit(work())
    watched = os.pidfd_open(pid)
    is_over = bool(select.select([watched], [], [], wall_seconds)[0])
    os.close(watched)
    if not is_over:
        os.killpg(pid, signal.SIGKILL)
    _, code, used = os.wait4(pid, 0)
    status = os.waitstatus_to_exitcode(code) if is_over else None
    return status, time.monotonic() - started, used.ru_maxrss * 1024


def _become(command: Command, argv: Sequence[str], places: dict[str, Path], said: Sequence[Path]) -> int:
    """What the fork does: the command as a user starts it; its exit status."""
    try:
        os.setpgid(0, 0)  # so that what it starts is killed with it
        resource.setrlimit(resource.RLIMIT_AS, (_SAFETY_BYTES, _SAFETY_BYTES))
        for stream, path in zip((1, 2), said, strict=True):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        sys.stdout, sys.stderr = (open(stream, "w", closefd=False) for stream in (1, 2))  # noqa: SIM115
        os.chdir(places["cwd"])
        os.environ["TMPDIR"] = str(places["tmp"])
        tempfile.tempdir = None  # tempfile remembers the folder that it chose first
        sys.argv = [SCRIPT, *argv]
        return _status(command, argv)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _status(command: Command, argv: Sequence[str]) -> int:
    try:
        run_command(lambda: command(list(argv)))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


# -- what is wrong with a run


def outcome(ran: Ran, whole: Ran, file_name: str, is_guarded: bool) -> tuple[str, str]:
    """In a word what a run on a damaged archive came to, and what is wrong with that, "" if nothing is.

    whole: the run on the undamaged archive. is_guarded: whether sums stand against all that was damaged.
    """
    wrong = _wrong(ran, file_name)
    if wrong:
        return wrong
    if ran.status == EXIT_USER_ERROR:
        return "refused", ""
    if ran.manifest == whole.manifest:
        return "as undamaged", ""
    return _other_chips(ran, whole, is_guarded)


def _wrong(ran: Ran, file_name: str) -> tuple[str, str] | None:
    lines = ran.stderr.rstrip("\n").splitlines() or [""]
    if ran.status is None:
        return "hang", f"still ran after {ran.seconds:.0f} s"
    if ran.peak_bytes > MOST_BYTES:
        return "memory", f"took {ran.peak_bytes / 1e9:.1f} GB"
    if "Traceback" in ran.stderr + ran.stdout:
        return "traceback", lines[-1]
    if ran.strays:
        return "strays", f"left or changed {', '.join(ran.strays[:3])}"
    if ran.status not in (0, EXIT_USER_ERROR):
        return "status", f"ended with status {ran.status}: {lines[-1]}"
    if ran.status == 0:
        return None if ran.manifest else ("no manifest", "status 0 without a manifest")
    if ran.prepared:
        return "prepared", "refused, and yet there is prepared/"
    if not lines[-1].startswith(f"{SCRIPT}: error: ") or file_name not in lines[-1]:
        return "message", f"does not name the archive: {lines[-1]}"
    return None


def _other_chips(ran: Ran, whole: Ran, is_guarded: bool) -> tuple[str, str]:
    """Of a run that made another set: whether it said so."""
    ours, theirs = _rows(ran.manifest), _rows(whole.manifest)
    lost = len(theirs) - len(ours)
    said = left_out(ran.stdout) - left_out(whole.stdout)
    new_lines = [line for line in ran.stderr.splitlines() if line not in whole.stderr.splitlines()]
    named = any("left out" in line or "skipped" in line for line in new_lines)
    if lost > said and not named:
        return "silent", f"{lost} chips fewer, and {said} said to be left out"
    strangers = ours.keys() - theirs.keys()
    if strangers:
        return "silent", f"chips that the archive does not hold: {', '.join(sorted(strangers)[:3])}"
    changed = sorted(name for name, row in ours.items() if row != theirs[name])
    if changed and is_guarded:
        return "silent", f"other chips or rows: {', '.join(changed[:3])}"
    if changed:
        return "other content, no checksum", ""
    return ("some left out, and said", "") if lost else ("silent", "other rows of the same chips")


def _rows(manifest: str) -> dict[str, tuple[str, ...]]:
    """By chip what the manifest says of it, but its split, which hangs on all chips."""
    table = pd.read_csv(StringIO(manifest), dtype=str, keep_default_na=False).drop(columns="split")
    return {row[0]: row for row in table.itertuples(index=False, name=None)}


def left_out(stdout: str) -> int:
    """Chips in the table "Left out" of the command's report."""
    _, _, table = stdout.partition("Left out:\n")
    lines = table.split("\n\n")[0].splitlines()[1:]
    return sum(int(word) for line in lines[:1] for word in line.split()[1:] if word.isdigit())


def first_run(command: Command, argv: list[str]) -> None:
    """Run a command in this process, so that forks find everything imported and read."""
    with contextlib.redirect_stdout(StringIO()), contextlib.redirect_stderr(StringIO()):
        command(argv)
