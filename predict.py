"""Command: a trained model on new chips -> classes, probabilities, and which chips are unlike the training data.

    python predict.py trained_models/CNN_Fusar.pt chip.tif                    # any image: its three likeliest classes
    python predict.py trained_models/CNN_Fusar.pt chips/ more.zip --top 1     # every image in folders and archives
    python predict.py trained_models/CNN_Mixed.pt Ship_C01S01N0001.tiff --spacing 1.73 1.12    # FUSAR-Ship
    python predict.py trained_models/CNN_Mixed.pt S1A_IW_GRDH_1SDV_....zip --spacing 10        # OpenSARShip, GRD
    python predict.py trained_models/NASNetMobile_UCMerced.pt tiles/ --csv tiles.csv           # scenes, in colour
    python predict.py trained_models/CNN_Fusar.pt --export cnn.onnx           # for programs without PyTorch

Images become chips as in training: 8 bit, grey or colour, of the network's size. Ships that were prepared with
--geometry metric have one scale in metres, and an image does not say its own: --spacing does, of rows and columns, on
the ground; extent and spacing of training are read from prepared/options.json beside trained_models/. Without
--spacing, an image of the network's size is taken to have the scale of training, and any other is resized, with a
warning. Scenes, and ships of --geometry chip, are always resized, as they were for training. 16-bit images are scaled
to 8 bit; float pixels (sigma nought) are refused.

A chip is marked "unlike" when its features lie farther from those of training chips than those of 95 % of the
validation chips do: 5 % of chips that are like the training data are marked by construction, too. See
sarship/familiarity.py.

Exit status: 0 if every file could be read, 1 if some could not (a warning names each), 2 if none could.
"""

import argparse
import csv
import hashlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from models import ShipNetwork, load_trained
from sarship.command import UserError, byte_count, command_parser, log, parse, run_command
from sarship.device import Device, arrange_memory, choose_device, to_float
from sarship.familiarity import Familiarity
from sarship.files import whole_file
from sarship.geometry import chip_size
from sarship.names import BASELINES
from sarship.new_chips import Framing, NewChip, Scale, Unread, read_chips
from sarship.onnx_export import export
from sarship.pool import available_cores
from sarship.prepared import read_options
from sarship.readers import Note, fields
from sarship.readers.tiff import MAX_SIDE
from sarship.runs import read_run
from sarship.scene_sets import SCENE_SETS

EXIT_SOME_UNREAD = 1
MARK = "unlike"


@dataclass(frozen=True, eq=False)
class Answers:
    """What the network says of some chips.

    names: of the chips; probabilities: (chips, classes) float64; distances: (chips,) from the training data, and
    unlike: (chips,) bool; both None where the model file cannot tell.
    """

    names: list[str]
    probabilities: np.ndarray
    distances: np.ndarray | None
    unlike: np.ndarray | None


def options(argv: list[str] | None = None) -> argparse.Namespace:
    parser = command_parser(__doc__, "python predict.py trained_models/CNN_Fusar.pt chips/ --top 1 --csv answers.csv")
    add = parser.add_argument
    # -- which network, on what
    model = add("model", type=Path, metavar="MODEL.pt", help="a model file of test_models.py")
    files = add("files", nargs="+", type=Path, metavar="FILES", help="images, folders, archives (zip, rar, tar)")
    model.required = files.required = False  # a study is checked by itself, and has neither
    add("--spacing", nargs="+", type=float, metavar="METRES",
        help="pixel spacing of the images on the ground: one number, or that of rows and that of columns")  # fmt: skip
    # -- what comes out
    add("--top", type=int, default=3, metavar="K", help="classes to print")
    add("--csv", type=Path, metavar="FILE", help="write a table with every probability, too; below --out")
    add("--export", type=Path, metavar="FILE", help="write the network to an ONNX file, checked; below --out")
    # -- how
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--precision", choices=["auto", "float32", "bfloat16"], help="(without: as the model was trained)")
    add("--max-bytes", type=byte_count, default="200G", metavar="SIZE", help="refuse archives that unpack to more")
    chosen = parse(parser, "predict", argv)
    if not chosen.model or not (chosen.files or chosen.export):
        raise UserError("name a model file, then what to predict on: python predict.py MODEL.pt FILES...")
    if chosen.top < 1:
        raise UserError(f"--top {chosen.top}: must be 1 or more")
    if chosen.spacing and (len(chosen.spacing) > 2 or not all(0 < metres < np.inf for metres in chosen.spacing)):
        raise UserError("--spacing: give one number of metres, or two (rows, columns), above 0")
    return chosen


def preparation_of(model: Path, meta: dict) -> dict | None:
    """The options that the chips of training were prepared with; None if they do not lie beside the model's folder."""
    out = model.absolute().parent.parent
    if not (out / "prepared" / "options.json").is_file():
        return None
    manifest = out / "prepared" / meta["trained"].rpartition("+")[2] / "manifest.csv"
    trained_on = meta["settings"]["data"].get(manifest.parent.name)
    if manifest.is_file() and hashlib.sha256(manifest.read_bytes()).hexdigest() != trained_on:
        log(f"warning: {out / 'prepared'}: is not what {model} was trained on, and tells nothing of its chips")
        return None
    return read_options(out)["options"]


def framing_of(meta: dict, preparation: dict | None, spacing_m: list[float] | None) -> Framing:
    """How images become chips like those of training. UserError if --spacing makes no sense for them."""
    known = SCENE_SETS.get(meta["trained"].rpartition("+")[2])
    white = (preparation or {}).get("white") or (known.white if known else None)  # in this order, as for training
    scale = scale_of(preparation, meta["image_size"])
    return Framing(
        size=meta["image_size"],
        bands=meta.get("bands", "grey"),
        white=white,
        rgb_bands=known.rgb_bands if known else None,
        scale=scale,
        image_spacing_m=checked_spacing(spacing_m, preparation, scale) if spacing_m else None,
    )


def scale_of(preparation: dict | None, size: int) -> Scale | None:
    """The one scale of the chips of training; None if they have none or it is not known."""
    if not preparation or preparation.get("geometry") != "metric":
        return None
    scale = Scale(preparation["extent"], preparation["spacing"])
    if chip_size(scale.extent_m, scale.spacing_m) != size:
        raise UserError(
            f"prepared/options.json: {scale.extent_m:g} m of {scale.spacing_m:g} m are not {size} x {size} pixels, "
            "as the network takes them; put that file there which its training chips were prepared with"
        )
    return scale


def checked_spacing(spacing_m: list[float], preparation: dict | None, scale: Scale | None) -> tuple[float, float]:
    """--spacing as (rows, columns). UserError if chips of training have no scale, or none that is known."""
    if preparation is None:
        raise UserError(
            "--spacing: needs prepared/options.json beside the model's folder, which has the scale of training; "
            "put it there, or leave --spacing out"
        )
    if scale is None:
        raise UserError("--spacing: the chips of training were resized, whatever their scale; leave it out")
    if scale.extent_m / min(spacing_m) > MAX_SIDE:
        raise UserError(f"--spacing {min(spacing_m):g}: is in metres; {scale.extent_m:g} m have too many such pixels")
    return spacing_m[0], spacing_m[-1]


def read_network_file(path: Path) -> dict:
    """The content of a model file. UserError if it is none, or that of a baseline."""
    content = read_run(path)
    if content["meta"]["model"] in BASELINES:
        raise UserError(f"{path}: is of {content['meta']['model']}, which is not kept; name the file of a network")
    return content


def familiarity_of(content: dict, path: Path) -> Familiarity | None:
    """The sample of the training data in a model file; None if there is none, which is said."""
    if "familiarity" in content:
        return Familiarity.from_state(content["familiarity"])
    log(f"{path}: has no sample of its training data, so chips unlike it cannot be told; train it again to have one")
    return None


@torch.no_grad()
def answer(network: ShipNetwork, chips: list[NewChip], familiarity: Familiarity | None, device: Device) -> Answers:
    pixels = torch.from_numpy(np.stack([chip.pixels for chip in chips])).to(device.name)  # (chips, size, size[, 3])
    with device.autocast():
        features = network.pooled_features(to_float(pixels))
        logits = network.classifier[1:](features)
    probabilities = torch.softmax(logits.double().cpu(), dim=1).numpy()
    distances = familiarity.distances(features) if familiarity else None
    unlike = familiarity.is_unlike(distances) if familiarity else None
    return Answers([chip.name for chip in chips], probabilities, distances, unlike)


class Table:
    """What is printed: a row a chip, as soon as it is known. The column of names widens as it must."""

    def __init__(self, classes: list[str], top: int):
        self._classes, self._top = classes, min(top, len(classes))
        self._class_width = max(map(len, classes))
        self._name_width = 0

    def write(self, answers: Answers) -> None:
        is_first = self._name_width == 0
        self._name_width = max(self._name_width, *map(len, answers.names), len("file"))
        if is_first:
            ranks = [f"{rank}.".ljust(self._class_width + 9) for rank in range(1, self._top + 1)]
            print("  ".join(["file".ljust(self._name_width), *ranks]).rstrip())
        for index, name in enumerate(answers.names):
            probabilities = answers.probabilities[index]
            best = np.argsort(-probabilities, kind="stable")[: self._top]
            cells = [f"{self._classes[k]:<{self._class_width}} {100 * probabilities[k]:6.2f} %" for k in best]
            mark = MARK if answers.unlike is not None and answers.unlike[index] else ""
            print("  ".join([name.ljust(self._name_width), *cells, mark]).rstrip())


class CsvFile:
    """What --csv writes: a row a chip. Probabilities have all their digits; without a sample of the training data,
    distance and unfamiliar are empty.
    """

    def __init__(self, file, classes: list[str]):
        self._writer = csv.writer(file, lineterminator="\n")
        self._classes = classes
        columns = ["file", "class", "probability", *(f"p_{name}" for name in classes), "distance", "unfamiliar"]
        self._writer.writerow(columns)

    def write(self, answers: Answers) -> None:
        for index, name in enumerate(answers.names):
            probabilities = answers.probabilities[index].tolist()
            best = int(answers.probabilities[index].argmax())
            known = answers.distances is not None
            told = [f"{answers.distances[index]:.6g}", int(answers.unlike[index])] if known else ["", ""]
            self._writer.writerow([fields.cell(name), self._classes[best], probabilities[best], *probabilities, *told])


@dataclass
class Tally:
    """How many chips were answered, were resized to the network's size, and are unlike the training data; how many
    files gave none.
    """

    chips: int = 0
    resized: int = 0
    unlike: int = 0
    unread: int = 0


def batches(items: Iterable[NewChip | Unread | Note], device: Device, tally: Tally) -> Iterator[list[NewChip]]:
    """Lists of as many chips as suit the device; what is no chip is logged and counted on the way."""
    batch: list[NewChip] = []
    for item in items:
        if isinstance(item, NewChip):
            batch.append(item)
            tally.resized += item.is_resized
        else:
            tally.unread += isinstance(item, Unread)
            with tqdm.external_write_mode():
                log(item.text if isinstance(item, Note) else f"warning: {item.name}: {item.reason}; it is left out")
        if batch and len(batch) == device.chips_at_once(len(batch[0].pixels) ** 2):
            yield batch
            batch = []
    if batch:
        yield batch


def warn_of_scale(tally: Tally, framing: Framing, preparation: dict | None) -> None:
    """One line if images do not show what the chips of training did, as far as that is known."""
    size = f"{framing.size} x {framing.size}"
    resized = f"{tally.resized} of {tally.chips} images were not {size} pixels and were resized"
    if tally.resized and framing.scale:
        scale = f"{framing.scale.spacing_m:g} m per pixel"
        log(f"warning: {resized}: their scale is not that of training, {scale}; give theirs with --spacing")
    elif tally.resized and preparation is None and framing.bands == "grey":
        log(f"warning: {resized}; whether training chips were is not known (no prepared/options.json beside the model)")
    new = tally.chips if framing.image_spacing_m else tally.resized
    if new and preparation and preparation.get("pixels") == "calibrated":
        log("warning: the network was trained on decibels (--pixels calibrated), and 8-bit images hold amplitude")


def summary(tally: Tally, familiarity: Familiarity | None) -> str:
    images = f"{tally.chips} image{'' if tally.chips == 1 else 's'}"
    if familiarity is None:
        return images
    marked = f"{tally.unlike} of them unlike the training data (farther from it than {familiarity.threshold:.3g})"
    return f"{images}, {marked}. {familiarity.caveat}"


def predict_all(
    items: Iterable[NewChip | Unread | Note],
    network: ShipNetwork,
    familiarity: Familiarity | None,
    outputs: list[Table | CsvFile],
    device: Device,
) -> Tally:
    """Answer batch by batch, and tell the outputs. Raises UserError if there is no chip."""
    tally = Tally()
    with tqdm(unit=" images", disable=None) as bar:
        for batch in batches(items, device, tally):
            answers = answer(network, batch, familiarity, device)
            with tqdm.external_write_mode():  # the bar steps aside
                for output in outputs:
                    output.write(answers)
            tally.chips += len(batch)
            tally.unlike += int(answers.unlike.sum()) if familiarity else 0
            bar.update(len(batch))
    if not tally.chips:
        raise UserError(f"none of {tally.unread} files could be read; name images, or folders or archives with some")
    return tally


def export_network(chosen: argparse.Namespace) -> None:
    """Write the ONNX file, and say how far its answers are from the network's."""
    network, meta = load_trained(chosen.model)
    path = chosen.out / chosen.export
    difference = export(network, meta, path)
    print(f"{path}: written; ONNX Runtime's probabilities differ from PyTorch's by {difference:.1e} at most")


def main(argv: list[str] | None = None) -> None:
    chosen = options(argv)
    content = read_network_file(chosen.model)
    if chosen.export:
        export_network(chosen)
    if not chosen.files:
        return
    device = choose_device(chosen.device, chosen.precision or content["meta"]["settings"]["precision"])
    network, meta = load_trained(chosen.model, device.name)
    network.to(memory_format=torch.channels_last)  # as in training: in another order of memory, rounding differs
    familiarity = familiarity_of(content, chosen.model)
    preparation = preparation_of(chosen.model, meta)
    framing = framing_of(meta, preparation, chosen.spacing)
    arrange_memory(device.chips_at_once(framing.size**2) * framing.size**2)
    with ExitStack() as stack:
        outputs = [Table(meta["classes"], chosen.top)]
        if chosen.csv:
            path = stack.enter_context(whole_file(chosen.out / chosen.csv))
            file = stack.enter_context(path.open("w", encoding="utf-8", newline=""))
            outputs.append(CsvFile(file, meta["classes"]))
        items = read_chips(chosen.files, framing, chosen.max_bytes, available_cores())
        tally = predict_all(items, network, familiarity, outputs, device)
    print(f"\n{summary(tally, familiarity)}")
    warn_of_scale(tally, framing, preparation)
    if tally.unread:
        log(f"{tally.unread} of {tally.unread + tally.chips} files could not be read")
        sys.exit(EXIT_SOME_UNREAD)


if __name__ == "__main__":
    run_command(main)
