"""Softmax collapse of the same logits on the device and on the CPU, and where the two differ.

A CPU's softmax in half precision rounds its sum to half; CUDA's is believed to add in float32.  Nothing here can fail:
both are what their device does, and the figures say what a sweep's device changes.
"""

from functools import partial

import torch
from torch import Tensor

from tests.benchmarks.gpu.report import Section
from trainables.engine.losses import DTYPES, SoftmaxCrossEntropy, softmax_collapsed

ROWS, CLASSES = 5107, 113
"""Of the default task, p = 113."""
LARGEST_MARGIN = {"float16": 20.0, "bfloat16": 20.0, "float32": 40.0, "float64": 80.0}
"""Beyond these, every row has collapsed on any device."""


def run(section: Section, device: torch.device, *, dry: bool) -> None:
    """Compare definition and loss in every dtype."""
    rows = 64 if dry else ROWS
    for dtype in DTYPES:
        section.attempt(dtype, partial(_compare, section, dtype, rows, device))


def logits(rows: int, largest_margin: float) -> Tensor:
    """Rows whose true class, the first, leads the others by margins from 0 up; (rows, CLASSES), float32."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand((rows, CLASSES), generator=generator) * 4
    margins = torch.linspace(0, largest_margin, rows)
    values[:, 0] = values[:, 1:].amax(1) + margins
    return values


def _compare(section: Section, dtype: str, rows: int, device: torch.device) -> None:
    values = logits(rows, LARGEST_MARGIN[dtype])
    margins = values[:, 0] - values[:, 1:].amax(1)
    labels = torch.zeros((1, rows), dtype=torch.int64)
    losses = {how: SoftmaxCrossEntropy(dtype=dtype, log_softmax=how) for how in ("native", "by_hand")}

    def facts(place: torch.device) -> dict[str, Tensor]:
        here = values.to(place).unsqueeze(0)
        found = {"in collapse": softmax_collapsed(losses["native"].cast(here))}
        for how, loss in losses.items():
            found[f"loss is 0, {how}"] = loss.row_losses(here, labels.to(place), {}) == 0
        return {name: flags.cpu()[0] for name, flags in found.items()}

    on_cpu, on_device = facts(torch.device("cpu")), facts(device)
    for name, flags in on_cpu.items():
        different = flags != on_device[name]
        where = margins[different]
        section.row(
            dtype=dtype,
            what=name,
            cpu=flags.double().mean().item(),
            device=on_device[name].double().mean().item(),
            first_margin_cpu=_first(margins, flags),
            first_margin_device=_first(margins, on_device[name]),
            rows_that_differ=int(different.sum()),
            margins_where_they_differ=[where.min().item(), where.max().item()] if len(where) else None,
        )


def _first(margins: Tensor, flags: Tensor) -> float | None:
    """The smallest margin at which it happens."""
    return margins[flags].min().item() if flags.any() else None
