"""What the machine offers: device, precision, whether to compile, memory settings, and a record of it."""

from __future__ import annotations

import ctypes
import functools
import importlib.metadata
import platform
import time
from contextlib import suppress
from typing import Any

import torch

from aeattn.config.run import Precision
from aeattn.errors import InputError
from aeattn.host import cpu_fact, cpu_has, revision
from aeattn.kernels.available import in_use


def pick_device(wanted: str) -> torch.device:
    """`auto` takes a GPU where there is one. Raises InputError for a device that is not there."""
    if wanted == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:100]
        raise InputError(f"device {wanted!r} cannot be used ({reason}): try `auto` or `cpu`") from error
    return device


def pick_precision(wanted: Precision, device: torch.device) -> torch.dtype:
    """`auto` computes in bf16 where the hardware multiplies it faster, else in float32."""
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bf16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    has_bf16 = device.type == "cpu" and cpu_has("avx512_bf16", "amx_bf16")
    return torch.bfloat16 if has_bf16 and bf16_is_faster() else torch.float32


@functools.cache
def bf16_is_faster() -> bool:
    """Whether this processor multiplies bf16 in less time than float32: with AVX512-BF16 some take half as long,
    some twice as long."""
    return product_seconds(torch.bfloat16) < product_seconds(torch.float32)


def product_seconds(dtype: torch.dtype, side: int = 512, trials: int = 5) -> float:
    """The shortest time of a product of two square matrices, after one to warm up."""
    a = torch.ones(side, side, dtype=dtype)
    times = []
    for _ in range(trials + 1):
        start = time.perf_counter()
        torch.mm(a, a)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of returning it to the system.

    Training frees and takes the same arrays at every step; page faults would cost a third of its time.
    Does nothing with another C library. mallopt(3).
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        if platform.libc_ver()[0] == "glibc":
            for option, value in ((mmap_threshold, 1 << 30), (trim_threshold, 1 << 30), (top_pad, 1 << 28)):
                mallopt(option, value)


def describe() -> dict[str, Any]:
    """Versions, hardware and source revision, for the records."""
    packages = ("torch", "numpy", "safetensors", "autoencoder-attention")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "cpu": cpu_fact("model name") or platform.processor(),
        "threads": torch.get_num_threads(),
        "kernels": in_use(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        **revision(),
    }
