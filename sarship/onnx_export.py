"""A trained network for programs without PyTorch: one ONNX file, held against the network before it is there.

The graph takes chips as `predict.py` reads them and gives probabilities; scaling to 0..1 and the network's own scaling
are in it. Its metadata name the classes in order, the model, what it was trained on, its image size and bands.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sarship.command import UserError
from sarship.device import to_float
from sarship.files import whole_file

TOLERANCE = 1e-4  # of a probability
CHECKED = (1, 5)  # chips of the batches that are compared
OPSET = 18
METADATA = ("model", "trained", "image_size")


class _Answering(nn.Module):
    """Chips (chips, rows, cols[, 3]) uint8 to probabilities (chips, classes) float32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, chips: Tensor) -> Tensor:
        return torch.softmax(self.network(to_float(chips)), dim=1)


def export(network: nn.Module, meta: Mapping, path: Path) -> float:
    """Write a network to an ONNX file; returns the largest difference of a probability from PyTorch's.

    network: on the CPU, in evaluation mode. meta: of its model file. Input `chips` (batch, size, size[, 3]) uint8,
    output `probabilities` (batch, classes) float32; the batch is of any size. Raises UserError if a package is not
    installed, the file cannot be written, or ONNX Runtime's answers differ by more than TOLERANCE.
    """
    if path.suffix != ".onnx":
        raise UserError(f"--export {path}: name a file that ends in .onnx")
    onnx, runtime = _packages()
    answering = _Answering(network).eval()
    colour = [3] if meta.get("bands") == "rgb" else []
    shape = (meta["image_size"], meta["image_size"], *colour)
    with whole_file(path) as written:
        _write(answering, shape, written)
        _describe(onnx, written, meta)
        difference = _largest_difference(runtime, answering, shape, written)
        if not difference <= TOLERANCE:  # also if it is no number
            raise UserError(
                f"{path}: is not written, as ONNX Runtime's probabilities differ from PyTorch's by {difference:.1e}; "
                f"{TOLERANCE:g} is allowed: try other versions of the two"
            )
    return difference


def _packages() -> tuple:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  PyTorch exports with it
    except ImportError as error:
        raise UserError(
            "--export: needs onnx, onnxscript and onnxruntime; pip install -r requirements-cluster.txt"
        ) from error
    return onnx, onnxruntime


@torch.no_grad()
def _write(answering: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    chips = torch.zeros((2, *shape), dtype=torch.uint8)  # of one chip, the batch would be taken for a constant
    with warnings.catch_warnings():
        # The exporter's own use of PyTorch is out of date in places, which is not for our users to know.
        warnings.simplefilter("ignore", category=FutureWarning)
        warnings.simplefilter("ignore", category=DeprecationWarning)
        torch.onnx.export(
            answering,
            (chips,),
            path,
            input_names=["chips"],
            output_names=["probabilities"],
            dynamic_shapes={"chips": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _describe(onnx, path: Path, meta: Mapping) -> None:
    graph = onnx.load(path)
    said = {name: str(meta[name]) for name in METADATA}
    said |= {"classes": json.dumps(list(meta["classes"])), "bands": meta.get("bands", "grey")}
    onnx.helper.set_model_props(graph, said)
    for node in graph.graph.node:
        del node.metadata_props[:]  # lines of this code, with the folder it lies in
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


@torch.no_grad()
def _largest_difference(runtime, answering: nn.Module, shape: tuple[int, ...], path: Path) -> float:
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    differences = []
    for count in CHECKED:
        chips = generator.integers(0, 256, (count, *shape)).astype(np.uint8)
        (theirs,) = session.run(["probabilities"], {"chips": chips})
        differences.append(np.abs(theirs - answering(torch.from_numpy(chips)).numpy()).max())
    return float(np.max(differences))
