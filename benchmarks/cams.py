"""Heatmaps a second: sarship/cams.py beside one-by-one calls of the same library; and drawing beside computing.

    python benchmarks/cams.py --write          # the figures of README.md
    python benchmarks/cams.py --models CNN --sizes 224 --chips 16

Claim: 3 times as many heatmaps a second. The library's way is that of its own examples: one chip a call, the network
as it was built. Both sides have the same weights and the same chips, in one process, and take turns at going first;
the maps are held against each other. Fresh weights: how long a pass takes does not depend on them.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytorch_grad_cam
import torch
from side_by_side import command_line, machine, table, write_section

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from models import MODELS, SHIP_MODELS, build
from sarship.attention import ship_mask
from sarship.cams import activation_maps
from sarship.device import CPU_PIXELS, arrange_memory, choose_device
from sarship.sheets import Drawers, Sheet, draw_sheet, drawers_for

CLASSES = ["Cargo", "Fishing", "Tanker"]
GOAL = 3.0
SEA_LEVEL = 25  # mean grey level of the sea
CHECKED = 4  # chips whose maps are computed in float64 as well, to know what rounding comes to
TRAINED = [name for name in SHIP_MODELS if not MODELS[name].frozen]  # the others have the same backbones


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--models", nargs="+", choices=TRAINED, default=TRAINED, metavar="MODEL")
    add("--sizes", nargs="+", type=int, default=[64, 128], metavar="PIXELS", help="of a side")
    add("--chips", type=int, default=45, help="heatmaps of each network a turn; 45 are a contact sheet")
    add("--turns", type=int, default=2)
    add("--sheets", type=int, default=4, help="of each network, computed and drawn a turn, at the first of --sizes")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--write", action="store_true", help="put the result into README.md")
    chosen = parser.parse_args(argv)
    chosen.command_line = command_line(Path(__file__), argv)
    return chosen


@dataclass
class Side:
    """One way of doing it: seconds of each turn, and what came out in the last."""

    work: Callable[[], object]
    seconds: list[float] = field(default_factory=list)
    result: object = None

    def rate(self, count: int) -> float:
        """How many of `count` things a turn it does in a second."""
        return count * len(self.seconds) / sum(self.seconds)


def in_turns(turns: int, *sides: Side) -> None:
    """Time the sides one after the other, each turn in another order."""
    for turn in range(turns):
        for side in sides if turn % 2 == 0 else reversed(sides):
            started = time.perf_counter()
            side.result = side.work()
            side.seconds.append(time.perf_counter() - started)


def draw_chips(count: int, size: int) -> np.ndarray:
    """(count, size, size) uint8: single-look sea with a ship as long as a third of the side."""
    chips = np.random.default_rng(0).exponential(size=(count, size, size)) ** 0.5 * SEA_LEVEL
    half, middle = size // 6, size // 2
    chips[:, middle - half : middle + half, middle - 2 : middle + 2] *= 5
    return chips.clip(0, 255).astype(np.uint8)


def one_by_one(network: torch.nn.Module, layer_name: str, pixels: np.ndarray) -> np.ndarray:
    """Grad-CAM of the predicted class as the library's examples have it: one chip a call."""
    parameter = next(network.parameters())
    heat = []
    with pytorch_grad_cam.GradCAM(model=network, target_layers=[network.get_submodule(layer_name)]) as cam:
        for chip in pixels:
            heat.append(cam(torch.from_numpy(chip)[None, None].to(parameter) / 255, None))
    return np.concatenate(heat)


def heatmaps_row(name: str, size: int, chosen: argparse.Namespace) -> list[str]:
    """Rates of both ways for one network and size of chips, and how far their maps are apart."""
    device = choose_device(chosen.device, "float32")
    torch.manual_seed(0)
    plain = build(name, len(CLASSES), size).eval().to(device.name)
    ours = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    pixels, batch_size = draw_chips(chosen.chips, size), device.chips_at_once(size * size)
    library = Side(lambda: one_by_one(plain, plain.cam_layer, pixels))
    batched = Side(lambda: activation_maps(ours, ours.cam_layer, pixels, None, "gradcam", batch_size).heat)
    for side in (library, batched):
        side.work()  # what is done once in a process is on neither side
    in_turns(chosen.turns, library, batched)
    apart = np.abs(library.result - batched.result).max(axis=(1, 2))
    worst = np.argsort(apart)[-CHECKED:]
    exact = one_by_one(copy.deepcopy(plain).double(), plain.cam_layer, pixels[worst])
    off = [np.abs(side.result[worst] - exact).max() for side in (library, batched)]
    theirs, own = library.rate(chosen.chips), batched.rate(chosen.chips)
    return [
        f"{name}, {size} x {size}", f"{theirs:.1f}", f"{own:.1f}", f"{own / theirs:.2f}", f"{GOAL:g}",
        "yes" if own / theirs >= GOAL else "no", f"{apart.max():.0e}", *(f"{side:.0e}" for side in off),
    ]  # fmt: skip


def sheets_table(chosen: argparse.Namespace, folder: Path) -> str:
    """Contact sheets a second, computed and drawn by turns in one process, and with drawing processes beside it."""
    size, count = chosen.sizes[0], len(chosen.models) * chosen.sheets
    device = choose_device(chosen.device, "float32")
    networks = {
        name: build(name, len(CLASSES), size).eval().to(device.name, memory_format=torch.channels_last)
        for name in chosen.models
    }
    pixels = draw_chips(chosen.chips, size)
    ships = np.stack([ship_mask(chip) for chip in pixels])

    def draw_all(below: Path, draw: Callable[[Sheet], None]) -> None:
        for name, network in networks.items():
            for number in range(chosen.sheets):
                maps = activation_maps(
                    network, network.cam_layer, pixels, None, "gradcam", device.chips_at_once(size * size)
                )
                labels = [CLASSES[index] for index in maps.probabilities.argmax(axis=1)]
                probabilities = maps.probabilities.max(axis=1).tolist()
                constant = [False] * len(labels)
                title = f"{name}, sheet {number + 1}"
                draw(
                    Sheet(
                        below / f"{name}_{number}", title, pixels, maps.heat, ships, labels, labels, probabilities,
                        constant,
                    )
                )  # fmt: skip

    def drawn_beside() -> None:
        with Drawers(drawers_for(count)) as drawers:
            draw_all(folder / "beside", drawers.draw)

    alone, beside = Side(lambda: draw_all(folder / "alone", draw_sheet)), Side(drawn_beside)
    in_turns(chosen.turns, alone, beside)
    if contents(folder / "alone") != contents(folder / "beside"):
        raise ValueError("drawing processes did not draw the same")
    header = [f"contact sheets a second, {size} x {size}", "one process", "drawn beside", "times faster", "processes"]
    rates = [alone.rate(count), beside.rate(count)]
    row = [f"{count} of {chosen.chips} chips", *(f"{rate:.2f}" for rate in rates), f"{rates[1] / rates[0]:.2f}"]
    return table(header, [[*row, f"1 + {drawers_for(count)}"]])


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def report(chosen: argparse.Namespace) -> str:
    arrange_memory(CPU_PIXELS)  # as grad_cams.py does; one chip at a time is not slower for it
    rows = [heatmaps_row(name, size, chosen) for size in chosen.sizes for name in chosen.models]
    with tempfile.TemporaryDirectory() as folder:
        sheets = sheets_table(chosen, Path(folder))
    header = ["heatmaps a second", "one by one", "sarship/cams.py", "times faster", "goal", "met"]
    return "\n\n".join(
        [
            "## Heatmaps",
            f"`{chosen.command_line}`, {machine('torch', 'grad-cam', 'matplotlib')}.",
            f"Grad-CAM of {chosen.chips} chips a turn, {chosen.turns} turns, {chosen.device}. Apart: the largest "
            "difference between maps of both ways, which run from 0 to 1. Rounding: of the "
            f"{min(CHECKED, chosen.chips)} chips that are furthest apart, the largest difference from the library's "
            "maps in float64, one by one and ours. It is large where nearly nothing in the layer speaks for the class, "
            "as a map is scaled to a maximum of 1.",
            table([*header, "apart", "rounding, one by one", "rounding, ours"], rows),
            "Heatmaps are computed and drawn to contact sheets and PNGs, in one process by turns, or by drawing "
            "processes while the next are computed; their start is counted. The files are compared byte by byte.",
            sheets,
        ]
    )


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    text = report(chosen)
    print(text)
    if chosen.write:
        write_section("cams.py", text)


if __name__ == "__main__":
    main()
