"""How the process gives memory back: not after every training step."""

import numpy as np

# Just below the largest block that glibc's allocator learns from.
LARGEST = (32 << 20) - 65536


def keep_freed_memory() -> None:
    """Lets the allocator keep the large arrays that a training step frees for the next step.

    By default glibc hands each freed array of more than 128 KiB back to the system and asks for it again:
    up to three thousand page faults a training step, which may cost a third of its time. It raises that
    threshold once it has seen a larger block come and go, so one is allocated here and dropped. No page of
    it is ever touched; freed memory at the top of the heap then stays with the process, up to 64 MiB.
    Other allocators do not mind.
    """
    np.empty(LARGEST, np.uint8)
