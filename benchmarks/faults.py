"""Kills at random moments, each followed by the same commands again: nothing lost, nothing other than without kills.

    python benchmarks/faults.py                    # 200 kills, some 20 minutes
    python benchmarks/faults.py --kills 20
    python benchmarks/faults.py --only 17          # that kill again, with what the commands said

Claim: after each of 200 kills (SIGKILL) and a plain rerun, manifest.csv of every data set, scores.csv, predictions.csv,
history.csv and every model file are byte for byte those of the run that nobody killed, and nothing unfinished is left.

The commands: dataset_prep.py on small simulated archives with two workers, then test_models.py with a transfer chain of
the CNN: a base that is trained, and a head on its frozen backbone, which has a cache of features. One thread, CPU.
Moments: for every other kill, a random time of the whole; for the others, a random one of the file operations (opens,
renames, removals), so that the short moments of writing get their share. Every other one of each kind kills the
workers with their command, as a power cut would; else these are left to notice for themselves.

The commands run in children of a process that has imported them: a fresh interpreter would take longer to start than
the commands to run.
"""

import argparse
import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from side_by_side import command_line, machine, write_section
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import dataset_prep  # noqa: E402
import test_models  # noqa: E402
from sarship.command import run_command  # noqa: E402
from sarship.files import UNFINISHED  # noqa: E402
from sarship.simulator import simulate_archives  # noqa: E402

CHIPS = 60  # of each archive
PREPARE = ["--extent", "256", "--spacing", "8", "--workers", "2"]  # 32 x 32 pixels
TRAIN = ["--models", "CNN", "--trained", "Fusar+OpenSARShip", "--epochs", "5", "--batch-size", "16", "--device", "cpu",
         "--no-timing", "--no-figures", "--no-baselines"]  # fmt: skip
OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "sqlite3.connect")  # audit events
LIMIT_SECONDS = 300  # of the commands after a kill
STAGES = ("prepare", "train")


@dataclass(frozen=True)
class Kill:
    """One kill. moment: seconds, or the number of the file operation; with_workers: the whole group at once."""

    number: int
    by_time: bool
    moment: float
    with_workers: bool

    @property
    def text(self) -> str:
        at = f"after {self.moment:.2f} s" if self.by_time else f"at file operation {self.moment:.0f}"
        return f"kill {self.number}, {at}, {'with' if self.with_workers else 'without'} its workers"


@dataclass(frozen=True)
class Ended:
    """What became of a kill. was_alive: whether there was something left to kill. problems: none if all is well."""

    kill: Kill
    was_alive: bool
    stage: str
    problems: tuple[str, ...]


def commands(raw: Path, out: Path) -> None:
    """Both commands, one after the other, as a user starts them; the stage is noted for the table."""
    archives = ["--fusar", str(raw / "FUSAR_Ship1.0.zip"), "--opensarship", str(raw / "OpenSARShip_2.zip")]
    for stage, command, words in (
        (*STAGES[:1], dataset_prep, [*archives, *PREPARE]),
        (*STAGES[1:], test_models, TRAIN),
    ):
        (out.parent / "stage").write_text(stage)
        sys.argv = [command.__name__ + ".py"]
        run_command(lambda command=command, words=words: command.main([*words, "--out", str(out)]))


def start(raw: Path, out: Path, said: Path, after_operations: int | None = None) -> int:
    """A child in a group of its own that runs the commands; its process id. said: where stdout and stderr go.

    after_operations: it kills itself at that file operation, workers and all if the number is even.
    """
    child = os.fork()
    if child:
        return child
    status = 70  # of a failure that is none of the commands'
    try:
        os.setsid()
        torch.set_num_threads(1)
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        if after_operations is not None:
            sys.addaudithook(Countdown(after_operations))
        commands(raw, out)
        status = 0
    except SystemExit as error:
        status = error.code
    finally:
        os._exit(status)


class Countdown:
    """An audit hook that kills the process, or its group, at its n-th file operation."""

    def __init__(self, operations: int):
        self._left, self._process = operations, os.getpid()

    def __call__(self, event: str, _arguments) -> None:
        if event not in OPERATIONS or os.getpid() != self._process:  # workers have a copy of this
            return
        self._left -= 1
        if self._left == 0:
            os.kill(self._process, signal.SIGKILL)


class Counting:
    """An audit hook that counts file operations, for `counted`."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, event: str, _arguments) -> None:
        self.count += event in OPERATIONS


def ended(child: int, limit_s: float) -> int | None:
    """The exit status of a child, negative for a signal; None if it was still there after so long, and was killed."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    kill_group(child)
    os.waitpid(child, 0)
    return None


def kill_group(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(child, signal.SIGKILL)


def contents(out: Path) -> dict[str, str]:
    """SHA-256 of all that must be the same, by name; what must not be there has its name alone."""
    wanted = [*out.glob("prepared/*/manifest.csv"), *out.glob("*.csv"), *out.glob("trained_models/*.pt")]
    found = {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in wanted}
    hidden = [path for path in out.rglob(".*") if path.name.startswith(UNFINISHED) or path.name.endswith(".partial.pt")]
    return found | {str(path.relative_to(out)): "" for path in hidden}


def carry_out(kill: Kill, raw: Path, expected: dict[str, str], folder: Path) -> Ended:
    """Start the commands, kill them, start them again, and look."""
    out, said = folder / "out", folder / "said.txt"
    folder.mkdir()
    child = start(raw, out, said, None if kill.by_time else int(kill.moment))
    status = ended_at(child, kill)
    stage = (folder / "stage").read_text() if (folder / "stage").exists() else STAGES[0]
    again = ended(start(raw, out, said), LIMIT_SECONDS)
    problems = []
    if again != 0:
        problems.append("hung" if again is None else f"ended with status {again}")
    if "Traceback" in said.read_text():
        problems.append("a traceback")
    found = contents(out)
    problems += [f"{name} differs" for name in sorted(expected.keys() | found) if expected.get(name) != found.get(name)]
    return Ended(kill, status == -signal.SIGKILL, stage, tuple(problems))


def ended_at(child: int, kill: Kill) -> int:
    """Wait for the child's end; by time, bring it about."""
    if kill.by_time:
        time.sleep(kill.moment)
        if kill.with_workers:
            kill_group(child)
        else:
            os.kill(child, signal.SIGKILL)
    status = ended(child, LIMIT_SECONDS)
    if kill.with_workers and not kill.by_time:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what is left of its group
    return status


def unkilled(raw: Path, folder: Path) -> tuple[dict[str, str], float, int]:
    """What the commands leave when nobody kills them, their seconds, and how many file operations they take."""
    folder.mkdir()
    started = time.monotonic()
    status = ended(start(raw, folder / "out", folder / "said.txt"), LIMIT_SECONDS)
    seconds = time.monotonic() - started
    if status != 0:
        sys.exit(f"the commands fail without any kill:\n{(folder / 'said.txt').read_text()}")
    return contents(folder / "out"), seconds, counted(raw, folder.with_name("counted"))


def counted(raw: Path, folder: Path) -> int:
    """File operations of both commands, in the process that is killed."""
    folder.mkdir()
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        hook = Counting()
        sys.addaudithook(hook)
        torch.set_num_threads(1)
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        commands(raw, folder / "out")
        os.write(send, str(hook.count).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        count = int(pipe.read())
    os.waitpid(child, 0)
    return count


def draw(kills: int, seed: int, seconds: float, operations: int) -> list[Kill]:
    """The moments: the same seed, the same ones, as far as the machine is as fast."""
    generator = random.Random(seed)
    return [
        Kill(
            number,
            number % 2 == 0,
            generator.uniform(0, seconds) if number % 2 == 0 else generator.randint(1, operations),
            number % 4 < 2,
        )
        for number in range(kills)
    ]


def table(done: list[Ended], seconds: float, operations: int) -> str:
    """The figures, as Markdown."""
    lines = ["| killed | kills | of them before the end | ended as if nobody had |", "|---|---:|---:|---:|"]
    for by_time in (True, False):
        for stage in STAGES:
            own = [each for each in done if each.kill.by_time == by_time and each.stage == stage]
            how = "at a random time" if by_time else "at a random file operation"
            counts = Counter(each.was_alive for each in own)
            well = sum(not each.problems for each in own)
            lines.append(f"| {how}, in {stage} | {len(own)} | {counts[True]} | {well} |")
    well = sum(not each.problems for each in done)
    lines.append(f"| all | {len(done)} | {sum(each.was_alive for each in done)} | {well} |")
    return "\n".join([*lines, "", f"Not killed, the commands take {seconds:.1f} s and {operations} file operations."])


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 if all ended as if nobody had killed anything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the moments")
    parser.add_argument("--only", type=int, metavar="N", help="this one alone, and print what the commands said")
    parser.add_argument("--folder", type=Path, help="where to work (without: a temporary folder)")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    chosen = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        simulate_archives(folder / "raw", chips=CHIPS, seed=0)
        expected, seconds, operations = unkilled(folder / "raw", folder / "unkilled")
        kills = draw(chosen.kills, chosen.seed, seconds, operations)
        if chosen.only is not None:
            kills = [kills[chosen.only]]
        done = [
            carry_out(kill, folder / "raw", expected, folder / f"kill_{kill.number}")
            for kill in tqdm(kills, unit=" kills", disable=None)
        ]
        for each in done:
            if each.problems or chosen.only is not None:
                print(f"{each.kill.text}, in {each.stage}: {'; '.join(each.problems) or 'all as it should be'}")
        if chosen.only is not None:
            print((folder / f"kill_{chosen.only}" / "said.txt").read_text())
    text = table(done, seconds, operations)
    print(text)
    if chosen.write:
        write_section("faults.py", f"## Kills\n\n`{command_line(Path(__file__), argv)}`, {machine('torch')}.\n\n{text}")
    return int(any(each.problems for each in done))


if __name__ == "__main__":
    sys.exit(main())
