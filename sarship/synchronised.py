"""Layers that see the whole batch though a process has a share of it only: batch norm, dropout, stochastic depth.

PyTorch's SyncBatchNorm refuses tensors on CPUs, so batch norm over processes is written here, one way for all devices.
"""

import torch
from torch import Tensor, distributed, nn
from torchvision.ops import StochasticDepth

from sarship.distributed import drawn_for, processes


def synchronise(layers: nn.Module) -> None:
    """Let batch norm and dropout in these layers see the whole batch, in training. Their parameters stay as they are.

    With one process nothing changes. Raises TypeError for a normalisation over chips that is not known here.
    """
    if processes() == 1:
        return
    for layer in layers.modules():
        if type(layer) in _OVER_PROCESSES:
            layer.__class__ = _OVER_PROCESSES[type(layer)]
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm) and type(layer) not in _OVER_PROCESSES.values():
            raise TypeError(f"{type(layer).__name__} over several processes is not written")


class _Dropout(nn.Dropout):
    def forward(self, values: Tensor) -> Tensor:
        share = drawn_for()
        if share is None or not self.training or not self.p:
            return super().forward(values)
        return values * super().forward(values.new_ones(share.total, *values.shape[1:]))[share.rows]


class _StochasticDepth(StochasticDepth):
    """Whose one number a chip is drawn for all chips of the batch."""

    def forward(self, values: Tensor) -> Tensor:
        share = drawn_for()
        if share is None or not self.training or not self.p:
            return super().forward(values)
        ones = values.new_ones(share.total, *[1] * (values.dim() - 1))
        return values * super().forward(ones)[share.rows]


class _BatchNorm2d(nn.BatchNorm2d):
    def forward(self, maps: Tensor) -> Tensor:
        if not self.training:
            return super().forward(maps)
        out, mean, variance, count = _Normalised.apply(maps, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            unbiased = variance * (count / (count - 1))
            self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)
        return out


class _Normalised(torch.autograd.Function):
    """Batch norm of maps (chips, channels, rows, cols) over the chips of all processes.

    Ioffe & Szegedy 2015, arXiv:1502.03167: algorithm 1, and the gradients beneath it. Mean and variance of the shares
    are put together as Chan, Golub & LeVeque 1983 do ("Algorithms for computing the sample variance", The American
    Statistician 37), in float64. A share may be empty.
    """

    @staticmethod
    def forward(ctx, maps: Tensor, weight: Tensor, bias: Tensor, eps: float):
        mean, variance, count = _moments_over_processes(maps)
        ctx.save_for_backward(maps, weight, mean.to(weight), (variance + eps).rsqrt().to(weight), count)
        out = nn.functional.batch_norm(maps, mean.to(weight), variance.to(weight), weight, bias, False, 0.0, eps)
        ctx.mark_non_differentiable(mean, variance, count)
        return out, mean, variance, count

    @staticmethod
    def backward(ctx, gradient: Tensor, *_):
        maps, weight, mean, inverse_std, count = ctx.saved_tensors
        gradient = gradient.to(weight.dtype)
        scaled = (maps.to(weight.dtype) - _over_maps(mean)) * _over_maps(inverse_std)
        of_bias, of_weight = gradient.sum((0, 2, 3)), (gradient * scaled).sum((0, 2, 3))
        sums = torch.stack([of_bias, of_weight]).double()
        distributed.all_reduce(sums)
        means = (sums / count).to(weight)
        of_maps = (gradient - _over_maps(means[0]) - scaled * _over_maps(means[1])) * _over_maps(weight * inverse_std)
        return of_maps.to(maps.dtype), of_weight, of_bias, None


def _over_maps(values: Tensor) -> Tensor:
    """(channels,) as something to be combined with maps."""
    return values[:, None, None]


def _moments_over_processes(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance (channels,) of the maps of all processes, and () of how many numbers a channel; all float64."""
    channels, count = maps.shape[1], maps.numel() // maps.shape[1]
    own = torch.zeros(2 * channels + 1, dtype=torch.float64, device=maps.device)
    if count:
        exact = maps.to(torch.promote_types(maps.dtype, torch.float32))
        variance, mean = torch.var_mean(exact, (0, 2, 3), correction=0)
        own = torch.cat([mean.double(), variance.double() * count, own.new_tensor([count])])
    parts = [torch.empty_like(own) for _ in range(processes())]
    distributed.all_gather(parts, own)
    means, squares, counts = torch.stack(parts).split([channels, channels, 1], dim=1)
    total = counts.sum()
    mean = (means * counts).sum(0) / total
    variance = (squares.sum(0) + ((means - mean) ** 2 * counts).sum(0)) / total
    return mean, variance, total


_OVER_PROCESSES = {nn.BatchNorm2d: _BatchNorm2d, nn.Dropout: _Dropout, StochasticDepth: _StochasticDepth}
