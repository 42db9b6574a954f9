"""The five-model grid on a GPU at FUSAR-Ship's real size, beside the plain loop of reference.py on the same GPU.

    python benchmarks/gpu.py --write                               # on a machine with CUDA: the figures of README.md
    python benchmarks/gpu.py --switches=--compile
    python benchmarks/gpu.py --device cpu --chips 24 --size 32 --epochs 1    # does it run? its figures mean nothing

Claim, on an NVIDIA H200: 15 runs (five models on three data sets) of 10 epochs in under 3 minutes, 20 times faster than
the reference loop, and VGG16 trains at 40 % of what a large matrix product reaches there. Chips are drawn, not
simulated: as many and as large as FUSAR-Ship's, as slow to decode, and easy to learn. Without CUDA, --write says in
README.md that nothing is measured yet, and stops.
"""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from drawn_chips import FUSAR_CHIPS, draw_prepared, split_counts
from PIL import Image
from reference import forward
from side_by_side import command_line, machine, measure, read_section, run_python, table, write_section
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models import SHIP_MODELS, build, load_trained  # noqa: E402
from sarship.command import log  # noqa: E402
from sarship.device import choose_device  # noqa: E402
from sarship.prepared import chip_path  # noqa: E402
from sarship.profiling import flop_of, peak_rate  # noqa: E402
from sarship.runs import model_files, read_run  # noqa: E402

DATASETS = ("Fusar", "OpenSARShip", "Mixed")
MOST_SECONDS, TIMES_FASTER, LEAST_SHARE = 180, 20, 0.4  # the goals
REAL_CHIPS, REAL_SIZE, EPOCHS = sum(FUSAR_CHIPS.values()), 224, 10  # for which they are set
AGREEMENT_CHIPS = 24  # enough for a difference to show; the CPU trains on them, too
NOT_MEASURED = (
    "## The grid on a GPU\n\n"
    "The GPU figures are not measured yet: no CUDA device was at hand. `python benchmarks/gpu.py --write`, on a "
    "machine with one, measures them and writes them here."
)


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--device", choices=["cuda", "cpu"], default="cuda")
    add("--chips", type=int, default=REAL_CHIPS, help="of each of the two data sets; Mixed has both")
    add("--size", type=int, default=REAL_SIZE, help="pixels a side")
    add("--epochs", type=int, default=EPOCHS)
    add("--batch-size", type=int, default=64, help="as published")
    add("--models", nargs="+", choices=list(SHIP_MODELS), default=list(SHIP_MODELS))
    add("--backbone", choices=["trained", "imagenet", "random"], default="trained",
        help="where frozen backbones of test_models.py start; costs the same wherever that is")  # fmt: skip
    add("--switches", default="", help="further options of test_models.py")
    add("--reference-epochs", type=int, default=2, help="that the reference loop runs, to tell the seconds of --epochs")
    add("--seed", type=int, default=1)
    add("--workdir", type=Path, metavar="DIR", help="empty or new folder that keeps chips, models and tables")
    add("--write", action="store_true", help="put the result into README.md")
    chosen = parser.parse_args(argv)
    if chosen.workdir and chosen.workdir.exists() and any(chosen.workdir.iterdir()):
        parser.error(f"--workdir {chosen.workdir}: is not empty, and what is done already would take no time")
    if "VGG" not in chosen.models:
        parser.error("--models: VGG must be among them; its share of the peak is measured")
    if chosen.write and (chosen.device != "cuda" or not are_goals_meant(chosen)):
        parser.error("--write: README.md shows the real size on CUDA; leave out --device and what makes it smaller")
    chosen.command_line = command_line(Path(__file__), argv)
    return chosen


def are_goals_meant(chosen: argparse.Namespace) -> bool:
    """Whether this is what the goals were set for."""
    is_whole = (chosen.chips, chosen.size, chosen.epochs) == (REAL_CHIPS, REAL_SIZE, EPOCHS)
    return chosen.device == "cuda" and is_whole and set(chosen.models) == set(SHIP_MODELS)


# -- the grid on the device, and the reference loop


def own_command(out: Path, chosen: argparse.Namespace, *further: str) -> list[str]:
    """test_models.py with the recipe of the reference loop."""
    common = ["--out", out, "--models", *chosen.models, "--epochs", chosen.epochs, "--batch-size", chosen.batch_size]
    common += ["--seeds", chosen.seed, "--loss", "cross_entropy", "--augment", "published"]
    common += ["--no-baselines", "--no-figures", *shlex.split(chosen.switches)]
    return run_python(ROOT / "test_models.py", *common, *further)


def own_grid(work: Path, chosen: argparse.Namespace) -> tuple[float, pd.DataFrame]:
    """Seconds of the whole command, and what its model files say of the runs, a row each: model, trained, seconds."""
    took = measure(own_command(work, chosen, "--device", chosen.device, "--backbone", chosen.backbone))
    log(f"test_models.py: {took.seconds:.1f} s")
    return took.seconds, pd.DataFrame([read_run(path)["meta"] for path in model_files(work)])


def reference_grid(work: Path, chosen: argparse.Namespace) -> tuple[float, pd.DataFrame]:
    """Seconds of the reference loop for all runs with --reference-epochs, and its runs, a row each."""
    written = work / "reference.csv"
    common = ["--out", work, "--models", *chosen.models, "--batch-size", chosen.batch_size, "--seed", chosen.seed]
    common += ["--epochs", chosen.reference_epochs, "--backbone", "random", "--device", chosen.device]
    took = measure(run_python(ROOT / "benchmarks" / "reference.py", *common, "--table", written))
    log(f"reference loop, {chosen.reference_epochs} epochs: {took.seconds:.1f} s")
    scores = pd.read_csv(written)
    return took.seconds, scores[scores["Trained"] == scores["Tested"]].reset_index(drop=True)


def with_epochs(seconds: float, runs: pd.DataFrame, epochs: int) -> float:
    """Seconds of the reference loop, had its runs had `epochs` epochs: as many more or fewer, each as long as its own.

    seconds: of the command that did the runs. What is no epoch (start, first weights, tests) stays as it was.
    """
    return float(seconds + ((epochs - runs["Epochs"]) * runs["EpochSeconds"]).sum())


def reference_table(runs: pd.DataFrame, own: pd.DataFrame, epochs: int) -> str:
    """Seconds of each model's runs: an epoch and the tests of the reference loop, and training in test_models.py."""
    rows = []
    for model, members in runs.groupby("Model", sort=False):
        training = own.loc[own["model"] == model, "seconds"].sum()
        epoch, tests = members["EpochSeconds"].sum(), members["TestSeconds"].sum()
        rows.append([model, f"{epoch:.2f}", f"{tests:.2f}", f"{epochs * epoch:.1f}", f"{training:.1f}"])
    header = ["seconds over all sets", "an epoch", "tests", f"{epochs} epochs, extrapolated"]
    return table([*header, f"{epochs} epochs of test_models.py"], rows)


# -- the share of the peak


def shares_of_peak(own: pd.DataFrame, counts: dict, chosen: argparse.Namespace, peak: float) -> pd.DataFrame:
    """A row a VGG16 run, and one of all: TFLOP, seconds of training with validation, share of `peak` (FLOP/s).

    counts: chips by data set and split. Operations are those of the layers, once forward and once backward: what is
    computed again to save memory, or could be left out, does not count.
    """
    network, shape = build("VGG", len(FUSAR_CHIPS), chosen.size), (3, chosen.size, chosen.size)
    layers = nn.Sequential(network.features, network.classifier)
    training, validating = flop_of(layers, shape, backward=True), flop_of(layers.eval(), shape, backward=False)
    rows = []
    for _, run in own[own["model"] == "VGG"].iterrows():
        chips = counts[run["trained"]]
        flop = chosen.epochs * (chips["train"] * training + chips["val"] * validating)
        rows.append({"Trained": run["trained"], "Flop": flop, "Seconds": run["seconds"]})
    runs = pd.DataFrame(rows)
    runs.loc[len(runs)] = ["all", runs["Flop"].sum(), runs["Seconds"].sum()]
    return runs.assign(Share=runs["Flop"] / runs["Seconds"] / peak)


def shares_table(shares: pd.DataFrame) -> str:
    rows = [
        [run["Trained"], f"{run['Flop'] / 1e12:,.1f}", f"{run['Seconds']:.1f}", f"{100 * run['Share']:.1f} %"]
        for _, run in shares.iterrows()
    ]
    return table(["VGG trained on", "TFLOP", "seconds", "of the peak"], rows)


# -- the same answers as on the CPU


def agreement(work: Path, chosen: argparse.Namespace) -> str:
    """How far class probabilities on the device are from the CPU's, at most, in float32 on few chips; a row a model."""
    outs = {device: work / f"on-{device}" for device in ("device", "cpu")}
    for name, out in outs.items():
        draw_prepared(out, split_counts(AGREEMENT_CHIPS), chosen.size, DATASETS[:1], chosen.seed)
        device = chosen.device if name == "device" else "cpu"
        measure(own_command(out, chosen, "--device", device, "--backbone", "random", "--precision", "float32"))
    rows = []
    for model in chosen.models:
        paths = {name: next((out / "trained_models").glob(f"{model}_{DATASETS[0]}*.pt")) for name, out in outs.items()}
        there, here = (read_run(path)["tests"][DATASETS[0]].numpy() for path in paths.values())
        network, _ = load_trained(paths["device"])
        same_weights = np.abs(there - plain_probabilities(network, outs["device"])).max()
        draws = any(isinstance(layer, nn.Dropout) for layer in network.modules())
        trained = "other dropout" if draws and chosen.device != "cpu" else f"{np.abs(there - here).max():.1e}"
        rows.append([model, f"{same_weights:.1e}", trained])
    return table(["largest difference of a probability", "same weights", "trained on either"], rows)


@torch.no_grad()
def plain_probabilities(network: nn.Module, out: Path) -> np.ndarray:
    """Class probabilities (chips, classes) of the test chips, each file opened by itself, on the CPU in float32."""
    folder = out / "prepared" / DATASETS[0]
    manifest = pd.read_csv(folder / "manifest.csv")
    rows = manifest[manifest["split"] == "test"].to_dict("records")
    chips = [torch.from_numpy(np.array(Image.open(chip_path(folder, row)))) for row in rows]
    logits = [forward(network, (chip / 255).expand(1, 3, -1, -1)) for chip in chips]
    return torch.cat(logits).double().softmax(dim=1).numpy()


# -- what came out


def goals_table(seconds: float, reference_seconds: float, share: float, has_goals: bool) -> str:
    """The three figures beside their goals."""
    faster = reference_seconds / seconds
    rows = [
        ["seconds of the grid", f"{seconds:.1f}", f"under {MOST_SECONDS}", seconds < MOST_SECONDS],
        ["times faster than the reference loop", f"{faster:.2f}", f"{TIMES_FASTER}", faster >= TIMES_FASTER],
        ["share of the peak in VGG16 training", f"{share:.3f}", f"{LEAST_SHARE}", share >= LEAST_SHARE],
    ]
    rows = [[*figures, "yes" if is_met else "no"] if has_goals else [*figures[:2], "", ""] for *figures, is_met in rows]
    return table(["", "measured", "goal", "met"], rows)


def chip_counts(work: Path) -> dict[str, dict[str, int]]:
    """Chips by data set and split."""
    folders = {name: work / "prepared" / name for name in DATASETS}
    return {
        name: pd.read_csv(folder / "manifest.csv")["split"].value_counts().to_dict() for name, folder in folders.items()
    }


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "its CPU"


def run(work: Path, chosen: argparse.Namespace) -> str:
    """Measure everything below `work`; returns the section of README.md."""
    draw_prepared(work, split_counts(chosen.chips), chosen.size, DATASETS, chosen.seed)
    counts = chip_counts(work)
    reference_seconds, reference_runs = reference_grid(work, chosen)
    seconds, own = own_grid(work, chosen)
    extrapolated = with_epochs(reference_seconds, reference_runs, chosen.epochs)
    dtype = choose_device(chosen.device, "auto").autocast_dtype
    peak = peak_rate(chosen.device, dtype)
    shares = shares_of_peak(own, counts, chosen, peak)
    chips = ", ".join(
        f"{name} {splits['train']} + {splits['val']} + {splits['test']}" for name, splits in counts.items()
    )
    kind = str(dtype).removeprefix("torch.")
    return "\n\n".join(
        [
            "## The grid on a GPU",
            f"`{chosen.command_line}`, on {device_name(chosen.device)}; "
            f"{machine('torch', 'torchvision')}.",
            f"{len(own)} runs of {chosen.epochs} epochs, {chosen.size} x {chosen.size} pixels, batches of "
            f"{chosen.batch_size}. Chips for training + validation + test: {chips}.",
            goals_table(seconds, extrapolated, shares["Share"].iloc[-1], are_goals_meant(chosen)),
            f"The reference loop did the same {len(reference_runs)} runs with {chosen.reference_epochs} epochs in "
            f"{reference_seconds:.1f} s. With {chosen.epochs}, it would take {extrapolated:.1f} s: what is "
            "extrapolated are the further epochs of each run, as long as its own after the first, which warms up.",
            reference_table(reference_runs, own, chosen.epochs),
            f"A product of large {kind} matrices reaches {peak / 1e12:,.1f} TFLOP/s. Seconds are those of training "
            "with validation, from a cold start; operations are those of the layers, once forward and once backward.",
            shares_table(shares),
            f"Answers on {device_name(chosen.device)} and on the CPU, float32 on both, {AGREEMENT_CHIPS} chips: with "
            "the weights of the former, and trained on either from the same seed.",
            agreement(work / "agreement", chosen),
        ]
    )  # fmt: skip


def write_not_measured() -> None:
    """Say so in README.md, unless figures from another machine stand there."""
    if read_section("gpu.py") not in ("", NOT_MEASURED):
        raise SystemExit("--write: README.md has figures of a GPU, and here is none; they stay")
    write_section("gpu.py", NOT_MEASURED)
    print(NOT_MEASURED)


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        if not chosen.write:
            raise SystemExit(
                "no CUDA device: nothing to measure; --device cpu --chips 24 --size 32 --epochs 1 tries it"
            )
        return write_not_measured()
    with tempfile.TemporaryDirectory() as folder:
        work = (chosen.workdir or Path(folder)).resolve()
        text = run(work, chosen)
    print(text)
    if chosen.write:
        write_section("gpu.py", text)


if __name__ == "__main__":
    main()
