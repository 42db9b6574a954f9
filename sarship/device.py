"""Where networks compute: which device, in which precision, with how much at once; and how chips get there."""

import ctypes
import sys
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sarship.command import UserError
from sarship.profiling import OFF, Profile

# Chips of an evaluation batch have this many pixels together. On a CPU, more only spills out of the caches (64 chips of
# 64 x 64 or 5 of 224 x 224 are as fast as any number); a GPU wants to be filled.
CPU_PIXELS, CUDA_PIXELS = 2**18, 2**24
# Of a training batch: 64 chips of 128 x 128. Of a block. See `arrange_memory`.
MANY_PIXELS, LARGE_BYTES = 2**20, 2**20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # parameters of glibc's mallopt (malloc.h)


@dataclass(frozen=True)
class Device:
    """Where to compute and in which precision. autocast_dtype: of convolutions and products; float32 means none.

    profile: keeps the time of what is done there; does nothing unless --profile asks for it.
    """

    name: str
    autocast_dtype: torch.dtype
    profile: Profile = field(default=OFF, compare=False)

    def autocast(self):
        enabled = self.autocast_dtype != torch.float32
        return torch.autocast(self.name, self.autocast_dtype if enabled else None, enabled=enabled)

    def chips_at_once(self, chip_pixels: int) -> int:
        """How many chips of so many pixels to evaluate in one batch; at least one."""
        return max(1, (CPU_PIXELS if self.name == "cpu" else CUDA_PIXELS) // chip_pixels)


def choose_device(name: str, precision: str, profile: Profile = OFF) -> Device:
    """Device for --device auto|cpu|cuda and --precision auto|float32|bfloat16.

    auto takes CUDA where there is one, and bfloat16 where the hardware multiplies in it (CUDA since Ampere; CPUs
    with AVX512-BF16 or AMX). Raises UserError if CUDA is asked for and absent.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch sees no CUDA device; use --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if precision == "auto":
        precision = "bfloat16" if _multiplies_bfloat16(name) else "float32"
    if name == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
    return Device(name, getattr(torch, precision), profile)


def _multiplies_bfloat16(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # The only question to the library that knows; processors without it (Apple's, say) have no such library either.
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def to_float(pixels: Tensor) -> Tensor:
    """(chips, rows, cols[, 3]) uint8 to (chips, 1 or 3, rows, cols) float32 in 0..1, channels last."""
    bands_second = pixels[:, None] if pixels.dim() == 3 else pixels.movedim(-1, 1)
    return (bands_second.float() / 255).contiguous(memory_format=torch.channels_last)


def arrange_memory(batch_pixels: int) -> None:
    """Tell the C library how to hold the memory of tensors, for training batches of so many pixels.

    glibc hands blocks of more than 32 MB back to the system when they are freed, and the system fills the next ones
    with zeros, page by page, in every step and layer: up to half of a CNN's time, and of a head's on a frozen backbone.
    So freed memory is kept. What is kept has gaps, though, and with batches of 64 chips of 224 x 224 they are
    gigabytes: beyond MANY_PIXELS, every block from LARGE_BYTES on is given back at once instead. benchmarks/README.md
    has the figures.
    No result depends on it, and C libraries other than glibc are left as they are.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(libc, "mallopt"):
        return
    if batch_pixels <= MANY_PIXELS:
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
    else:
        libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
