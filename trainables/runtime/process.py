"""How a process that trains uses its core: one thread, and memory that it keeps."""

import ctypes

import torch

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""Of ``mallopt`` in glibc's ``malloc.h``."""
KEPT_BYTES = 256 * 2**20


def prepare_process() -> None:
    """Set up this process for training; repeating it changes nothing.

    A cohort gets one thread, so that the sums of a step, and with them its bits, do not depend on how many cores are
    free.  And glibc keeps up to 256 MiB of freed memory: otherwise it gives the tensors of each step back to the
    system and takes the same memory again, zeroed page by page, for the next.
    """
    torch.set_num_threads(1)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # Only glibc has it.
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
