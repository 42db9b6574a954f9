"""The outputs of named layers, batch by batch, as maps of units."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from sarship.command import UserError
from sarship.device import to_float

# Layers whose last axis is their units, whatever comes before it. Not their subclasses: torchvision's LayerNorm2d has
# its units second, as a convolution has.
UNITS_LAST = (nn.Linear, nn.LayerNorm)
INTO = "into "


class NoSuchLayer(UserError):
    """A network has no layer of that name, or the layer has no output of units."""


def layer_named(network: nn.Module, name: str) -> nn.Module:
    """The layer of a dotted name. Raises NoSuchLayer."""
    try:
        return network.get_submodule(name)
    except AttributeError as error:
        raise NoSuchLayer(f"--layer {name}: the network has no such layer; interpret.py layers lists them") from error


def outputs_of(
    network: nn.Module, names: Sequence[str], pixels: np.ndarray, batch_size: int, label: str = ""
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """The first chip's number and the outputs of the named layers, one batch of chips after the other.

    network: in evaluation mode, on its device, where the outputs stay. pixels: (chips, rows, cols[, 3]) uint8.
    names: of layers; one with INTO before it asks for what goes into the layer. The outputs are copies: layers that
    work in place would overwrite them. Raises NoSuchLayer for a name that the network does not have, or a layer that
    chips do not go through as a whole.
    """
    device = next(network.parameters()).device
    with _kept(network, names) as kept, tqdm(total=len(pixels), desc=label, unit=" chips", disable=None) as bar:
        for start in range(0, len(pixels), batch_size):
            kept.clear()
            batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + batch_size]))
            with torch.no_grad():
                network(to_float(batch.to(device)))
            for name in names:
                if not isinstance(kept.get(name), Tensor):
                    raise NoSuchLayer(f"layer {name}: gives no output of its own; name a layer inside it")
            yield start, dict(kept)
            bar.update(len(batch))


@contextmanager
def _kept(network: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Within, what the named layers put out or took in last, copied, by name."""
    kept: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable:
        def keep(module: nn.Module, inputs: tuple, output) -> None:
            value = inputs[0] if name.startswith(INTO) else output
            kept[name] = value.detach().clone() if isinstance(value, Tensor) else value

        return keep

    handles = [
        layer_named(network, name.removeprefix(INTO)).register_forward_hook(keeper(name)) for name in names
    ]  # fmt: skip
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def as_maps(output: Tensor, layer: nn.Module, name: str) -> Tensor:
    """(chips, units, rows, cols) of what a layer puts out.

    A map stays one. A vector (chips, units) has one cell. Tokens (chips, tokens, units) of a square of patches are laid
    out again, without the class token that stands before them (Dosovitskiy et al. 2021, arXiv:2010.11929).
    Raises NoSuchLayer for anything else.
    """
    if output.dim() == 2:
        return output[:, :, None, None]
    if output.dim() == 4:
        return output.movedim(-1, 1) if type(layer) in UNITS_LAST else output
    side = int((output.shape[1] if output.dim() == 3 else 0) ** 0.5)
    if side == 0 or output.shape[1] - side**2 not in (0, 1):
        shape = " x ".join(map(str, output.shape[1:]))
        raise NoSuchLayer(f"layer {name}: its output of {shape} is no map of units; name another layer")
    return output[:, -(side**2) :].transpose(1, 2).unflatten(2, (side, side))
