"""How often the host waits for a CUDA device, as torch itself finds out."""

import warnings
from collections.abc import Callable

import torch


def waits(work: Callable[[], object]) -> int:
    """How many operations of a piece of work made the host wait for the device."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(each.message) for each in told)
