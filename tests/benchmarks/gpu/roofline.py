"""Where the time of a step would go on a GPU, on paper: launches, bandwidth or arithmetic.

    python -m tests.benchmarks.gpu.roofline [--launch-us 5] [--bandwidth 3.35e12] [--flops 67e12]

The real step program runs on the CPU and its operations are counted.  Beyond one member their number does not depend
on K, and bytes and products are linear in it, which is checked, so that few members are run.  A CPU's operations stand
for a GPU's: there an operation may be several kernels, and a fused one may read less.  The figures of the device are
its vendor's, by default those of an H100 SXM (NVIDIA, H100 Tensor Core GPU data sheet: 3.35 TB/s, 67 TFLOP/s in float32
without tensor cores).  The time of a launch, with its dispatch by torch, is an assumption.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from tests.benchmarks.bench_engine_step import plain_loop, trial
from tests.benchmarks.gpu.counting import Counts, counted

MEMBERS = (1, 4, 16, 64, 256, 512)
COUNTED = (2, 3, 5)
HEAD = "| p | K | operations | MB | GFLOP | launches | bandwidth | arithmetic | limit | trial-steps/s |"


@dataclass(frozen=True)
class Device:
    """What bounds a step."""

    launch_s: float = 5e-6
    bandwidth: float = 3.35e12
    flops: float = 67e12

    def seconds(self, counts: Counts) -> dict[str, float]:
        """What each limit alone would take."""
        return {
            "launches": counts.operations * self.launch_s,
            "bandwidth": counts.bytes / self.bandwidth,
            "arithmetic": counts.flops / self.flops,
        }


def step_counts(p: int, members: int) -> Counts:
    """What one step of a cohort of the default MLP dispatches, without a measurement."""
    trials = [trial(p, seed) for seed in range(members)]
    cohort = trials[0].build(trials, "cpu")
    cohort.advance(1)
    return counted(lambda: cohort.advance(1))


def extrapolated(few: Mapping[int, Counts], members: int) -> Counts:
    """The step of more members, from those of few.

    :raises ValueError: when operations depend on the number of members, or bytes and products are not linear in it.
    """
    if members in few:
        return few[members]
    low, middle, high = (few[count] for count in COUNTED)
    if not low.operations == middle.operations == high.operations:
        raise ValueError(f"{low.operations}, {middle.operations}, {high.operations} operations for {COUNTED} members")
    grown = {}
    for what in ("bytes", "flops"):
        values = [getattr(each, what) for each in (low, middle, high)]
        slope = values[1] - values[0]
        if values[2] != values[1] + 2 * slope:
            raise ValueError(f"{what} are not linear in the members: {values} for {COUNTED}")
        grown[what] = values[0] + (members - COUNTED[0]) * slope
    return Counts(low.operations, grown["bytes"], grown["flops"], low.names)


def plain_counts(p: int) -> Counts:
    """What a step of the loop that one would write first dispatches."""
    step = plain_loop(p)
    step()
    return counted(step)


def table(device: Device, sizes: Sequence[int] = (113, 31)) -> str:
    """The table, in Markdown."""
    lines = [HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
    for p in sizes:
        lines.append(_row(device, p, "plain loop", 1, plain_counts(p)))
        few = {members: step_counts(p, members) for members in (1, *COUNTED)}
        lines += [_row(device, p, str(members), members, extrapolated(few, members)) for members in MEMBERS]
    return "\n".join(lines) + "\n"


def _row(device: Device, p: int, name: str, members: int, counts: Counts) -> str:
    seconds = device.seconds(counts)
    limit = max(seconds, key=lambda which: seconds[which])
    times = " | ".join(f"{1e3 * seconds[which]:.3f} ms" for which in seconds)
    return (
        f"| {p} | {name} | {counts.operations} | {counts.bytes / 1e6:,.0f} | {counts.flops / 1e9:,.2f} "
        f"| {times} | {limit} | {_rounded(members / seconds[limit])} |"
    )


def _rounded(value: float) -> str:
    """Two digits: what is computed so is no better."""
    return f"{float(f'{value:.2g}'):,.0f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu.roofline", description=__doc__.split("\n")[0])
    parser.add_argument("--launch-us", type=float, default=5.0)
    parser.add_argument("--bandwidth", type=float, default=Device.bandwidth, help="bytes a second")
    parser.add_argument("--flops", type=float, default=Device.flops, help="floating-point operations a second")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(table(Device(options.launch_us * 1e-6, options.bandwidth, options.flops)), end="")


if __name__ == "__main__":
    main()
