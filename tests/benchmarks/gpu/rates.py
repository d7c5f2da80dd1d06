"""What the device itself does, measured: seconds of a piece of work, its peak memory, the rate of matrix products."""

import statistics
import time
from collections.abc import Callable

import torch

ROUNDS, ROUND_S, WARM_UPS = 3, 0.15, 3


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, *, round_s: float = ROUND_S) -> float:
    """Seconds a call by the clock, the median of rounds of many calls."""
    for _ in range(WARM_UPS):
        work()
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    calls = max(1, int(round_s / max(time.perf_counter() - began, 1e-9)))
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            work()
        wait(device)
        rounds.append((time.perf_counter() - began) / calls)
    return statistics.median(rounds)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int | None:
    """The most memory that torch held on a GPU during a piece of work; None elsewhere."""
    if device.type != "cuda":
        work()
        return None
    wait(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    wait(device)
    return torch.cuda.max_memory_allocated(device)


def product_rate(dtype: torch.dtype, size: int, device: torch.device, *, round_s: float = ROUND_S) -> float:
    """Floating-point operations a second of one large matrix product, TF32 off."""
    with_tf32, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, False
    try:
        left, right = (torch.randn((size, size), dtype=dtype, device=device) for _ in range(2))
        out = torch.empty_like(left)
        return 2.0 * size**3 / seconds_of(lambda: torch.mm(left, right, out=out), device, round_s=round_s)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = with_tf32


def copy_rate(size: int, device: torch.device, *, round_s: float = ROUND_S) -> float:
    """Bytes a second, read and written, of copying a large tensor."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2.0 * size / seconds_of(lambda: target.copy_(source), device, round_s=round_s)
