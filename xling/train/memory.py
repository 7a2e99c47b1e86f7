"""The device that a process trains on, and the most memory it held."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def device_name(device: torch.device) -> str:
    """``cpu``, or the accelerator's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def reset_peak(device: torch.device) -> None:
    """Begin a new high-water mark, where the system lets one: a process trains one cell after another."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        try:
            _CLEAR.write_text("5")
        except OSError:  # a container may forbid it: the mark is the whole process's then
            return


def peak_bytes(device: torch.device) -> int:
    """The accelerator's greatest allocation since the reset; on a CPU the process's greatest resident size."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
