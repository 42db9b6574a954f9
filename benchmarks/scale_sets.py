"""Does a set of any size train? Seconds and memory of the real command on sets of ever more chips.

    python benchmarks/scale_sets.py --write            # growth at 32 px, then 200,000 chips of 128 px, then baselines
    python benchmarks/scale_sets.py --sizes 1000 5000 --claim 0 --with-baselines 0   # a quick look at the growth alone
    python benchmarks/scale_sets.py --sizes --with-baselines 0                       # the claim about memory alone

The claim: time grows linearly with the chips, and 200,000 chips of 128 x 128 pixels, 3.3 GB decoded, train with less
than 3 GB resident. So do the baselines, which are left out of all but the last set: HOG_SVM learns from 10,000 chips at
most, and 20,000 have that many to train on. Each row is one `test_models.py --epochs 1` on a drawn set (drawn_chips.py:
70 % of the chips train, 10 % validate, 20 % test, every chip a vessel of its own), one process on the CPU, from its
start to its tables.

Memory is VmHWM, the kernel's high-water mark of what was resident, pages of mapped files among it, whoever else has
them mapped too. Parts are those of --profile; start is what is before and after the run: imports, the manifest, its
fingerprint, and the seconds in which --profile measures the machine's peak. The exponent is the slope of log seconds
over log chips: 1 is linear, and a constant part makes it smaller.

The network is MobileNetV3 with all but its last layer frozen: every chip goes through it from a random batch, as in any
training, and it is the cheapest there is. A dearer one would take hours for the claim, and hide in its own time what
grows faster than the chips do.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from drawn_chips import draw_prepared, split_counts
from side_by_side import command_line, machine, run_python, table, write_section

from sarship.profiling import PARTS

SCRIPT = Path(__file__).resolve().parent.parent / "test_models.py"
NETWORK = ["--models", "MobileNetV3", "--freeze-to", "15", "--backbone", "random"]
ALWAYS = ["--epochs", "1", "--no-figures", "--device", "cpu", "--precision", "float32", "--profile"]
LIMIT_BYTES = 3e9  # what the claim allows
CLAIM_SIDE = 128
# Columns of the table, and the parts of --profile that are in each.
GROUPS = {
    "decoding": ("decode",),
    "training": ("to device", "features", "forward", "backward", "optimizer"),
    "evaluation": ("evaluation",),
    "scores, tables": ("writing",),
    "other": ("other",),
}
FITTED_FROM = 5_000  # chips: below, the start is most of the time
SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Trained:
    """One command. seconds: of all and of each part; resident_bytes: its VmHWM; decoded_bytes: of the set's chips."""

    chips: int
    seconds: float
    parts: dict[str, float]
    resident_bytes: int
    decoded_bytes: int


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--sizes", nargs="*", type=int, default=[1_000, 5_000, 20_000, 50_000, 200_000], help="chips of each set")
    add("--side", type=int, default=32, help="pixels of a chip, for the growth")
    add("--claim", type=int, default=200_000, help=f"chips of {CLAIM_SIDE} px, for the memory; 0: none")
    add("--with-baselines", type=int, default=20_000, help=f"chips of {CLAIM_SIDE} px, baselines too; 0: none")
    add("--seed", type=int, default=0, help="of the drawn chips")
    add("--workdir", type=Path, help="where sets are drawn, and removed again (without: a temporary folder)")
    add("--write", action="store_true", help="into README.md, between <!-- scale-sets --> and <!-- /scale-sets -->")
    return parser.parse_args(argv)


def train(chips: int, side: int, workdir: Path, seed: int, baselines: str = "--no-baselines") -> Trained:
    """Draw a set, train on it, remove it. Raises RuntimeError with the end of its errors if the command fails."""
    out = Path(tempfile.mkdtemp(prefix=f"chips-{chips}-", dir=workdir))
    try:
        draw_prepared(out, split_counts(chips), side, ("Fusar",), seed)
        seconds, resident_bytes, printed = run_resident(run_python(SCRIPT, "--out", out, *NETWORK, *ALWAYS, baselines))
    finally:
        shutil.rmtree(out)
    return Trained(chips, seconds, parts_of(printed, seconds), resident_bytes, chips * side**2)


def run_resident(command: Sequence[str]) -> tuple[float, int, str]:
    """Seconds, VmHWM in bytes and standard output of a command (Linux)."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        resident_bytes = 0
        while process.poll() is None:
            resident_bytes = max(resident_bytes, high_water(process.pid))
            time.sleep(SAMPLE_SECONDS)
        seconds = time.monotonic() - started
        for file in (output, errors):
            file.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: {errors.read()[-2000:]}")
        return seconds, resident_bytes, output.read()


def high_water(pid: int) -> int:
    """VmHWM of a process in bytes; 0 of one that has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(found[1]) * 1024 if found else 0


def parts_of(printed: str, seconds: float) -> dict[str, float]:
    """Seconds of each of GROUPS, and of the start, from the last line of the table that --profile prints."""
    (line,) = re.findall(r"^\s*all\s+([\d.]+)\s+(.*%)", printed, re.MULTILINE)
    shares = re.findall(r"([\d.]+) %", line[1])
    of_part = {
        part: float(line[0]) * float(share) / 100 for part, share in zip((*PARTS, "other"), shares, strict=False)
    }
    return {
        "start": seconds - float(line[0]),
        **{group: sum(of_part[part] for part in parts) for group, parts in GROUPS.items()},
    }


def exponent(chips: Sequence[int], seconds: Sequence[float]) -> float:
    """Of the power of the number of chips that seconds grow with: least squares on logarithms."""
    return float(np.polyfit(np.log(chips), np.log(np.maximum(seconds, 1e-3)), 1)[0])


def cells(row: Trained) -> list[str]:
    parts = [f"{row.parts[group]:.1f}" for group in ("start", *GROUPS)]
    figures = [f"{row.seconds:.1f}", f"{1000 * row.seconds / row.chips:.2f}", *parts]
    return [f"{row.chips:,}", *figures, f"{row.decoded_bytes / 1e9:.2f}", f"{row.resident_bytes / 1e9:.2f}"]


def growth_line(rows: Sequence[Trained]) -> list[str]:
    """The exponents as a line of the table; nothing with fewer than two sets that are large enough."""
    fitted = [row for row in rows if row.chips >= FITTED_FROM]
    if len(fitted) < 2:
        return []
    chips = [row.chips for row in fitted]
    total = exponent(chips, [row.seconds for row in fitted])
    each = [exponent(chips, [row.parts[group] for row in fitted]) for group in ("start", *GROUPS)]
    resident = exponent(chips, [row.resident_bytes for row in fitted])
    return [
        f"exponent from {chips[0]:,} on", f"{total:.2f}", f"{total - 1:.2f}", *(f"{value:.2f}" for value in each),
        "1.00", f"{resident:.2f}",
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    chosen = options(argv)
    header = ["chips", "seconds", "ms a chip", "start", *GROUPS, "decoded, GB", "resident, GB"]
    written = [f"`{command_line(Path(__file__), argv)}`, {machine('torch')}."]
    with tempfile.TemporaryDirectory(dir=chosen.workdir) as workdir:
        rows = []
        for chips in sorted(chosen.sizes):
            rows.append(train(chips, chosen.side, Path(workdir), chosen.seed))
            print(table(header, [cells(rows[-1])]), flush=True)
        if rows:
            lines = [*map(cells, rows), *filter(None, [growth_line(rows)])]
            written.append(f"{chosen.side} x {chosen.side} pixels, one epoch:\n\n{table(header, lines)}")
        for chips, baselines, what in (
            (chosen.claim, "--no-baselines", "one epoch"),
            (chosen.with_baselines, "--baselines", "one epoch, and the baselines (other)"),
        ):
            if not chips:
                continue
            row = train(chips, CLAIM_SIDE, Path(workdir), chosen.seed, baselines)
            met = "yes" if row.resident_bytes < LIMIT_BYTES else "no"
            claim = table([*header, "goal, GB", "met"], [[*cells(row), f"{LIMIT_BYTES / 1e9:.0f}", met]])
            written.append(f"{CLAIM_SIDE} x {CLAIM_SIDE} pixels, {what}:\n\n{claim}")
    text = "\n\n".join(written)
    print(text)
    if chosen.write:
        write_section("scale-sets", text)


if __name__ == "__main__":
    main()
