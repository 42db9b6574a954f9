"""Class activation maps of a trained network, through the grad-cam library (Gildenblat and others, 2021)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytorch_grad_cam as library
import torch
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from sarship.attention import attention_on_ship, is_constant
from sarship.command import UserError
from sarship.device import to_float

# All of the library's methods that explain one class by one layer and need nothing else. Not here: FullGrad (takes no
# layer), RefineCAM (several layers), FinerCAM and SESS (wrap another method), RandomCAM (draws from a global state).
METHODS: dict[str, type[BaseCAM]] = {
    "gradcam": library.GradCAM,  # Selvaraju et al. 2017, arXiv:1610.02391
    "gradcam++": library.GradCAMPlusPlus,  # Chattopadhyay et al. 2018, arXiv:1710.11063
    "gradcam_elementwise": library.GradCAMElementWise,
    "hirescam": library.HiResCAM,  # Draelos and Carin 2020, arXiv:2011.08891
    "xgradcam": library.XGradCAM,  # Fu et al. 2020, arXiv:2008.02312
    "layercam": library.LayerCAM,  # Jiang et al. 2021, doi:10.1109/TIP.2021.3089943
    "shapleycam": library.ShapleyCAM,  # arXiv:2501.06261
    "eigencam": library.EigenCAM,  # Muhammad and Yeasin 2020, arXiv:2008.00299; the same for every class
    "eigengradcam": library.EigenGradCAM,
    "segeigencam": library.SegEigenCAM,  # Chung and Ying 2025, doi:10.3390/app15137562
    "kpcacam": library.KPCA_CAM,  # the same for every class
    "fem": library.FEM,  # Fuad et al. 2020; the same for every class
    "scorecam": library.ScoreCAM,  # Wang et al. 2020, arXiv:1910.01279; a forward pass a channel
    "ablationcam": library.AblationCAM,  # Desai and Ramaswamy 2020; a forward pass a channel
}


@dataclass(frozen=True, eq=False)
class ActivationMaps:
    """heat: (chips, rows, cols) float32, each from 0 to 1, all 0 where constant. probabilities: (chips, k) float64.

    cells: rows and columns of the layer's own map, before it was resized to the chip.
    """

    heat: np.ndarray
    probabilities: np.ndarray
    cells: tuple[int, int]


def activation_maps(
    network: nn.Module,
    layer_name: str,
    pixels: np.ndarray,
    targets: np.ndarray | None,
    method: str,
    batch_size: int,
    uniform: bool = False,
) -> ActivationMaps:
    """Class activation maps of `layer_name` for each chip, and the network's class probabilities.

    network: in evaluation mode, on its device; it comes back as it was. pixels: (chips, rows, cols[, 3]) uint8.
    targets: (chips,) index of the class to explain; None explains the predicted one. method: a key of METHODS.
    uniform: whether a layer of 1 x 1 cells is put up with, whose heatmaps are the same everywhere.
    The library resizes each map to the chip, takes off its minimum and scales it to a maximum of 1.
    Raises UserError if the layer does not exist or has no spatial extent.
    """
    layer, cells = spatial_layer(network, layer_name, pixels.shape[1:], uniform)
    heat, logits = [], []
    with _gradients_from(network, layer):
        cam = METHODS[method](model=network, target_layers=[layer])
        try:
            with _output_kept(layer):
                for start in range(0, len(pixels), batch_size):
                    batch = slice(start, start + batch_size)
                    heat.append(cam(_on_device(network, pixels[batch]), _library_targets(targets, batch)))
                    logits.append(cam.outputs.detach().double().cpu())
        finally:
            cam.activations_and_grads.release()
    return ActivationMaps(np.concatenate(heat), torch.softmax(torch.cat(logits), dim=1).numpy(), cells)


def _library_targets(targets: np.ndarray | None, batch: slice) -> list[ClassifierOutputTarget] | None:
    return None if targets is None else [ClassifierOutputTarget(int(target)) for target in targets[batch]]


def _on_device(network: nn.Module, pixels: np.ndarray) -> Tensor:
    return to_float(torch.from_numpy(pixels).to(next(network.parameters()).device))


def spatial_layer(
    network: nn.Module, layer_name: str, chip_shape: tuple[int, ...], uniform: bool = False
) -> tuple[nn.Module, tuple[int, int]]:
    """The layer of that dotted name, and rows and columns of its map for a chip of (rows, cols[, 3]) pixels.

    Raises UserError that names the layer and the extent of its output, if it has none to see anything in.
    """
    try:
        layer = network.get_submodule(layer_name)
    except AttributeError as error:
        raise UserError(
            f"--layer {layer_name}: the network has no such layer; leave out --layer for its own"
        ) from error
    shapes: list[tuple[int, ...]] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    try:
        with torch.no_grad():
            network(_on_device(network, np.zeros((1, *chip_shape), dtype=np.uint8)))
    finally:
        handle.remove()
    maps = [shape for shape in shapes if len(shape) == 4]  # (1, channels, rows, cols)
    extent = " x ".join(map(str, maps[0][2:])) if maps else "no"
    if extent == "no" or (extent == "1 x 1" and not uniform):
        raise UserError(
            f"layer {layer_name}: its output has {extent} extent, so a heatmap of it would be the same everywhere; "
            "name an earlier layer with --layer"
        )
    return layer, maps[0][2:]


@contextmanager
def _gradients_from(network: nn.Module, layer: nn.Module) -> Iterator[None]:
    """Within, gradients reach `layer` and end there, whether the backbone is frozen or not.

    A frozen backbone has no gradient at all otherwise; and one that is not need not be walked down to the input.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    # The library's own hooks come after this one, and find an output that asks for its gradient.
    handle = layer.register_forward_hook(lambda module, inputs, output: output.requires_grad_(torch.is_grad_enabled()))
    try:
        yield
    finally:
        handle.remove()
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def _output_kept(layer: nn.Module) -> Iterator[None]:
    """Within, the layers after `layer` get a copy of its output: some would overwrite what the library holds on to.

    Entered after the library has put its hooks on the layer. Layers before it work in place as they always do.
    """
    handle = layer.register_forward_hook(lambda module, inputs, output: output.clone())
    try:
        yield
    finally:
        handle.remove()


def choose_chips(classes: np.ndarray, per_class: int, seed: int) -> dict[str, np.ndarray]:
    """Indices of up to `per_class` chips of each class, evenly over their order from a seeded start.

    classes: (chips,) class names in the order of the manifest. The same for every network, so maps can be compared.
    """
    start = np.random.default_rng(seed).random()
    chosen = {}
    for name in sorted(set(classes)):
        of_class = np.flatnonzero(classes == name)
        count = min(per_class, len(of_class))
        chosen[name] = of_class[((np.arange(count) + start) * len(of_class) / count).astype(int)]
    return chosen


def attention_row(mask: np.ndarray, heat: np.ndarray) -> dict[str, float]:
    """The columns of attention.csv that compare a heatmap with the mask of the ship, both (rows, cols)."""
    return {"ship_pixels": int(mask.sum()), **attention_on_ship(heat, mask), "constant": is_constant(heat)}
