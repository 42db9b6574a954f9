"""Where the seconds of a run went, and how much of what the hardware can do was done (--profile)."""

import copy
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

PARTS = ("decode", "to device", "features", "forward", "backward", "optimizer", "evaluation", "writing")
COMPUTING = ("features", "forward", "backward", "evaluation")  # the parts whose operations are counted
PEAK_SIDE = {"cpu": 4096, "cuda": 8192}  # of the matrices whose product is timed
PEAK_SECONDS = 0.5


class Profile:
    """Seconds of each run by part; see PARTS. Off, it costs nothing and knows nothing.

    On, work on a CUDA device is waited for at the end of each part: the parts are true, the whole is somewhat slower.
    """

    def __init__(self, is_on: bool):
        self.is_on = is_on
        self._runs: list[tuple[str, Counter]] = []
        self._counts: Counter = Counter()
        self._flop: dict[tuple, float] = {}
        self._is_inside = False

    @contextmanager
    def run(self, name: str) -> Iterator[None]:
        """What is done within belongs to the run `name`."""
        if not self.is_on:
            yield
            return
        self._counts, self._flop = Counter(), {}
        started = time.perf_counter()
        yield
        self._counts["seconds"] = time.perf_counter() - started
        self._runs.append((name, self._counts))

    def part(self, name: str):
        """A context whose time is that of a part; within another part, it counts as the outer one's."""
        return self._timed(name) if self.is_on and not self._is_inside else nullcontext()

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        self._is_inside = True
        started = time.perf_counter()
        try:
            yield
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
        finally:
            self._is_inside = False
            self._counts[name] += time.perf_counter() - started

    def count(self, chips: int, layers: nn.Module, chip_shape: tuple[int, ...], backward: bool) -> None:
        """So many inputs of `chip_shape` went through layers, in training (`backward`) or in evaluation."""
        if not self.is_on:
            return
        key = (layers, tuple(chip_shape), backward)
        if key not in self._flop:
            self._flop[key] = flop_of(layers, chip_shape, backward)
        self._counts["flop"] += chips * self._flop[key]
        self._counts["shown"] += chips * backward

    def table(self, device_name: str, dtype: torch.dtype) -> str:
        """One row a run: seconds, share of each part, training images a second, rate, share of the measured peak."""
        peak = peak_rate(device_name, dtype)
        rows = [_row(name, counts, peak) for name, counts in self._runs]
        rows.append(_row("all", sum((counts for _, counts in self._runs), Counter()), peak))
        what = f"Peak of this machine, {str(dtype).removeprefix('torch.')} matrix product: {peak / 1e9:,.0f} GFLOP/s"
        return f"{pd.DataFrame(rows).to_string(index=False)}\n{what}"


def _row(name: str, counts: Counter, peak: float) -> dict[str, str]:
    seconds = counts["seconds"]
    training = sum(counts[part] for part in ("to device", "forward", "backward", "optimizer"))
    computing = sum(counts[part] for part in COMPUTING)
    rate = counts["flop"] / computing if computing else 0.0
    shares = {part: counts[part] for part in PARTS}
    shares["other"] = seconds - sum(shares.values())
    return {
        "run": name,
        "seconds": f"{seconds:.1f}",
        **{part: f"{100 * share / seconds:.1f} %" for part, share in shares.items()},
        "images/s": f"{counts['shown'] / training:,.0f}" if training else "-",
        "GFLOP/s": f"{rate / 1e9:,.0f}",
        "of peak": f"{100 * rate / peak:.0f} %",
    }


OFF = Profile(is_on=False)


def flop_of(layers: nn.Module, chip_shape: tuple[int, ...], backward: bool) -> float:
    """Floating-point operations for one input of `chip_shape`, a multiply-add as two; with the way back, if asked for.

    Counted on a copy without data, as the layers are now: what is frozen has no way back.
    """
    hollow = copy.deepcopy(layers).to("meta")
    inputs = torch.zeros(2, *chip_shape, device="meta")  # two: batch norm has no variance over one
    with torch.set_grad_enabled(backward), FlopCounterMode(display=False) as counter:
        outputs: Tensor = hollow(inputs)
        if backward:
            outputs.sum().backward()
    return counter.get_total_flops() / len(inputs)


def peak_rate(device_name: str, dtype: torch.dtype) -> float:
    """FLOP/s of a product of two square matrices of `dtype`, measured now: what a network could reach at best."""
    side = PEAK_SIDE[device_name]
    left, right = (torch.randn(side, side, device=device_name).to(dtype) for _ in range(2))
    best, deadline = float("inf"), time.perf_counter() + PEAK_SECONDS
    while best == float("inf") or time.perf_counter() < deadline:
        started = time.perf_counter()
        for _ in range(3):
            left @ right
        if device_name == "cuda":
            torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - started) / 3)
    return 2 * side**3 / best
