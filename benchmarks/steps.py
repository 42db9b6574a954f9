"""What each choice in training is worth: ms a training chip and peak memory, with one thing turned back at a time.

    python benchmarks/steps.py --write
    python benchmarks/steps.py --models CNN --sizes 64 --batch-sizes 16 --steps 8
    python benchmarks/steps.py --measure VGG 224 64 "float32"     # one figure, in this process

Each figure is a process of its own, as the C library remembers how it held memory; the first step, in which libraries
choose their kernels, is not counted, and of the others the median. Variants take turns within each network and size.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from side_by_side import command_line, machine, measure, run_python, table, write_section

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models import MODELS, SHIP_MODELS, build  # noqa: E402
from sarship.augment import AUGMENTATIONS  # noqa: E402
from sarship.device import MANY_PIXELS, Device, arrange_memory, choose_device  # noqa: E402
from sarship.feeding import WholeNetwork  # noqa: E402

CLASSES = 3


@dataclass
class Setting:
    """All that a variant may turn. memory: what arrange_memory is told; None leaves the C library as it is."""

    network: torch.nn.Module
    device: Device
    memory: int | None
    layout: torch.memory_format = torch.channels_last
    fused: bool = True


def _float32(setting: Setting) -> None:
    setting.device = choose_device(setting.device.name, "float32")


def _rows_first(setting: Setting) -> None:
    setting.layout = torch.contiguous_format


def _kept_activations(setting: Setting) -> None:
    setting.network.recomputed = 0


def _library_memory(setting: Setting) -> None:
    setting.memory = None


def _kept_memory(setting: Setting) -> None:
    setting.memory = MANY_PIXELS


def _returned_memory(setting: Setting) -> None:
    setting.memory = MANY_PIXELS + 1


def _loop_adam(setting: Setting) -> None:
    setting.fused = False


def _compiled(setting: Setting) -> None:
    setting.network.compile()


AS_IT_IS = "as it is"
VARIANTS: dict[str, Callable[[Setting], None]] = {
    AS_IT_IS: lambda setting: None,
    "float32": _float32,
    "rows first, not channels last": _rows_first,
    "no activations computed again": _kept_activations,
    "memory as the C library holds it": _library_memory,
    "freed memory kept": _kept_memory,
    "freed memory given back": _returned_memory,
    "Adam not fused": _loop_adam,
    "compiled": _compiled,
}


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    scratch = [name for name in SHIP_MODELS if not MODELS[name].frozen]
    add("--models", nargs="+", choices=scratch, default=scratch)
    add("--sizes", nargs="+", type=int, default=[64, 128, 224], help="pixels a side")
    add("--batch-sizes", nargs="+", type=int, default=[16, 32, 64], help="one for each size")
    add("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="VARIANT")
    add("--steps", type=int, default=4, help="that are counted")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--measure", nargs=4, metavar=("MODEL", "SIZE", "BATCH", "VARIANT"), help="print one figure and stop")
    add("--write", action="store_true", help="put the result into README.md")
    chosen = parser.parse_args(argv)
    chosen.command_line = command_line(Path(__file__), argv)
    if len(chosen.sizes) != len(chosen.batch_sizes):
        parser.error("--sizes and --batch-sizes: give as many of one as of the other")
    return chosen


def milliseconds_a_chip(model: str, size: int, batch: int, variant: str, steps: int, device: Device) -> float:
    """Median time of a training step over its chips: to float, forward, loss, backward, optimizer."""
    torch.manual_seed(0)
    setting = Setting(build(model, CLASSES, size), device, batch * size**2)
    VARIANTS[variant](setting)
    if setting.memory is not None:
        arrange_memory(setting.memory)
    network = setting.network.to(setting.device.name, memory_format=setting.layout).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=setting.fused)
    pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size), np.uint8)
    feed = WholeNetwork(network, pixels, AUGMENTATIONS["none"], setting.device)
    every, labels = torch.arange(batch, device=device.name), torch.arange(batch, device=device.name) % CLASSES
    unflipped, unused = torch.zeros_like(every), torch.Generator(device.name)
    seconds = []
    for _ in range(steps + 1):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        logits = feed.train_logits(every, unflipped, unused).float()
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        if device.name == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 1000 * median(seconds[1:]) / batch


def compare(model: str, size: int, batch: int, chosen: argparse.Namespace) -> list[list[str]]:
    """A row a variant: ms a chip, times as fast as it is, peak memory."""
    figures = {}
    for variant in chosen.variants:
        wanted = ["--measure", model, size, batch, variant, "--steps", chosen.steps, "--device", chosen.device]
        took = measure(run_python(Path(__file__), *wanted))
        figures[variant] = float(took.output), took.peak_bytes
    own = figures[chosen.variants[0]][0]
    return [
        [f"{model}, {size} x {size}, batch {batch}: {variant}", f"{ms:.2f}", f"{ms / own:.2f}", f"{peak / 2**30:.2f}"]
        for variant, (ms, peak) in figures.items()
    ]


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    if chosen.measure:
        model, size, batch, variant = chosen.measure
        device = choose_device(chosen.device, "auto")
        print(milliseconds_a_chip(model, int(size), int(batch), variant, chosen.steps, device))
        return
    rows = []
    for size, batch in zip(chosen.sizes, chosen.batch_sizes, strict=True):
        for model in chosen.models:
            rows += compare(model, size, batch, chosen)
            print(table(["", "ms a chip", "times", "GiB"], rows[-len(chosen.variants) :]), flush=True)
    header = ["one thing turned back", "ms a training chip", f"times {chosen.variants[0]}", "peak memory, GiB"]
    print(machine("torch"))
    text = f"## Training steps\n\n`{chosen.command_line}`, {machine('torch')}.\n\n{table(header, rows)}"
    if chosen.write:
        write_section("steps.py", text)


if __name__ == "__main__":
    main()
