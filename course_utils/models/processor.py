"""What the processor computes with by itself: whether bfloat16 is fast here or only possible."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_CPUINFO = Path("/proc/cpuinfo")
_FLAGS = {"avx512_bf16", "amx_bf16"}


def has_bfloat16(device: str | torch.device) -> bool:
    """Return whether ``device`` multiplies matrices of bfloat16 numbers itself, without emulation.

    ``device`` is a device of torch or its name. Of GPUs, those of CUDA say so themselves. A CPU has
    it where the kernel reports ``avx512_bf16`` or ``amx_bf16`` (Intel since Cooper Lake and AMD since
    Zen 4, under Linux); elsewhere PyTorch computes with such numbers as well, but not faster than
    with float32, and the answer is False.

    >>> has_bfloat16("meta")
    False
    """
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(_FLAGS & _cpu_flags())


def _cpu_flags() -> set[str]:
    """Return what the kernel says that this CPU can do; nothing where it does not say."""
    # torch has names of its own for this, which differ from version to version.
    try:
        lines = _CPUINFO.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    told = (line.partition(":")[2].split() for line in lines if line.startswith("flags"))
    return set(next(told, ()))
