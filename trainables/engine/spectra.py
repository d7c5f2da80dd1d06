"""Fourier spectra of the weights along the axis of the numbers mod p, and how sparse they are.

A network that has learnt modular addition represents numbers by a few frequencies (Nanda et al. 2023); Fig. 12 of
Prieto et al. 2025 shows this for the output weights.

Shape suffixes: K cohort, N numbers (p of them), F frequencies 1 ... p // 2.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.engine.config import ConfigError, option
from trainables.engine.probes import Observation, Probe
from trainables.engine.tasks import ModularArithmetic, Task

TENTH = 0.1


@dataclass(frozen=True, kw_only=True)
class FourierSpectrum(Probe):
    """Shares of the Fourier power of the output and the input weights, by frequency.

    ``fourier_output`` is the spectrum of the last matrix with one column per class, transformed over the classes.
    ``fourier_input`` is that of the first matrix with one row per feature, transformed over the numbers: for one-hot
    pairs the rows of a and those of b separately, with their powers added; for tokens the embedding.  Dense inputs have
    no row per number and so no ``fourier_input``.

    The power at frequency k is that of its sine and cosine together, summed over the hidden units, so it depends on
    neither phase nor basis.  ``constant_share`` is the share of the constant (k = 0) in the total power.  All other
    columns are about the rest, with F = p // 2 frequencies:

    * ``power_<k>``: the share of frequency k, from 1 to F; they sum to 1;
    * ``gini``: the Gini coefficient of the shares (Hurley and Rickard 2009), from 0 (all equal) to 1 - 1/F (only one);
    * ``ipr``: the inverse participation ratio, the sum of the squared shares, from 1/F to 1;
    * ``top10_share``: the share of the strongest tenth of the frequencies, rounded up to an integer number of them;
    * ``unit_top10_share``: the same, with each hidden unit's own strongest tenth.  A network can have one frequency per
      unit and still use all of them (Gromov 2023); then this share is large and ``top10_share`` is not.

    NaN where all weights are equal.
    """

    every: int = option(4, at_least=1, example=1)

    def check(self, task: Task | None) -> None:
        if not isinstance(task, ModularArithmetic):
            raise ConfigError(
                f"FourierSpectrum: {type(task).__name__ if task else 'the data'} has no numbers mod p; "
                "must be a task of modular arithmetic"
            )

    def names(self, shapes: Mapping[str, tuple[int, ...]], task: Task | None) -> tuple[str, ...]:
        assert isinstance(task, ModularArithmetic)
        powers = [f"power_{k}" for k in range(1, task.p // 2 + 1)]
        quantities = ["constant_share", *powers, "gini", "ipr", "top10_share", "unit_top10_share"]
        return tuple(f"{place}.{quantity}" for place in _tables(shapes, task) for quantity in quantities)

    def measure(self, seen: Observation) -> dict[str, Tensor]:
        task = seen.task
        assert isinstance(task, ModularArithmetic)
        columns = {}
        shapes = {name: tuple(value.shape[1:]) for name, value in seen.parameters.items()}
        for place, name in _tables(shapes, task).items():
            weights = seen.parameters[name]
            if place == "fourier_input":
                weights = weights.unflatten(1, (-1, task.p)).transpose(-1, -2)
            power_KUF = power_spectrum(weights).flatten(1, -2)  # U units
            power_KF = power_KUF.sum(1)
            total_K = power_KF[:, 1:].sum(-1)
            shares_KF = power_KF[:, 1:] / total_K.unsqueeze(-1)
            columns[f"{place}.constant_share"] = power_KF[:, 0] / power_KF.sum(-1)
            for k, share_K in enumerate(shares_KF.unbind(-1), start=1):
                columns[f"{place}.power_{k}"] = share_K
            columns[f"{place}.gini"] = gini(shares_KF)
            columns[f"{place}.ipr"] = shares_KF.square().sum(-1)
            columns[f"{place}.top10_share"] = top_tenth(shares_KF)
            columns[f"{place}.unit_top10_share"] = top_tenth(power_KUF[..., 1:]).sum(1) / total_K
        return columns


def power_spectrum(values: Tensor) -> Tensor:
    """Compute the power spectrum of real values along their last axis, sine and cosine of a frequency together.

    :param values: shape (..., N).
    :returns: shape (..., N // 2 + 1), float64, the constant first; sums to the sum of squares (Parseval).
    """
    numbers = values.shape[-1]
    power = torch.fft.rfft(values.double(), dim=-1, norm="ortho").abs().square()
    # Add the power of the negative frequency, which all have but the constant and, for even N, the highest one.
    power[..., 1 : (numbers + 1) // 2] *= 2
    return power


def gini(shares_KF: Tensor) -> Tensor:
    """Compute the Gini coefficient of each row of non-negative values (Hurley and Rickard 2009, Table I): (K,)."""
    count = shares_KF.shape[1]
    ranks_F = torch.arange(1, count + 1, dtype=shares_KF.dtype, device=shares_KF.device)
    ascending_KF = shares_KF.sort(-1).values
    return (ascending_KF * (2 * ranks_F - count - 1)).sum(-1) / (count * shares_KF.sum(-1))


def top_tenth(values: Tensor) -> Tensor:
    """Sum the largest tenth of the values along the last axis, rounded up to an integer number: shape (...)."""
    return values.topk(math.ceil(TENTH * values.shape[-1]), dim=-1).values.sum(-1)


def _tables(shapes: Mapping[str, tuple[int, ...]], task: ModularArithmetic) -> dict[str, str]:
    """Return the parameters to transform, by the prefix of their columns."""
    matrices = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    tables = {}
    if last := [name for name, (_, outputs) in matrices.items() if outputs == task.classes]:
        tables["fourier_output"] = last[-1]
    if task.input_kind != "dense":
        first = [name for name, (inputs, _) in matrices.items() if inputs == task.features]
        if first:
            tables["fourier_input"] = first[0]
    return tables
