"""Softmax collapse flips where theory says (Def. 1 and Def. 3), in every dtype, for any number of classes.

1 + x is 1 in floating point when x is at most half the machine epsilon ε.  With the V - 1 other logits a margin m
below the largest, each adds exp(-m): for m below log(2/ε) each alone already changes the sum, and for m above
log(2(V - 1)/ε) all of them together do not.  In between it depends on the order of the summation.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from trainables.engine.losses import (
    DTYPES,
    SoftmaxCrossEntropy,
    StableMaxCrossEntropy,
    TaylorSoftmaxCrossEntropy,
    softmax_collapsed,
)
from trainables.engine.probes import Rows, SoftmaxCollapse

CLASSES = [2, 3, 10, 113]


def rows_at(margins: list[float], classes: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """One row a margin: the largest logit is class 0's; shape (1, margins, V)."""
    logits = torch.zeros(1, len(margins), classes, dtype=dtype)
    logits[0, :, 0] = torch.tensor(margins, dtype=torch.float64).to(dtype)
    return logits


def slack(edge: float, dtype: torch.dtype) -> float:
    """What rounding may move the edge by: the margin's own spacing, and the relative error of small exponentials."""
    return 2 * edge * torch.finfo(dtype).eps + 0.02


@pytest.mark.parametrize("name", DTYPES)
def test_softmax_collapse_margins(name):
    for classes in CLASSES:
        dtype = DTYPES[name]
        below, above = (math.log(2 * others / torch.finfo(dtype).eps) for others in (1, classes - 1))
        margins = [below - slack(below, dtype), above + slack(above, dtype)]
        assert softmax_collapsed(rows_at(margins, classes, dtype)).tolist() == [[False, True]]
        assert SoftmaxCrossEntropy(dtype=name).collapsed(rows_at(margins, classes)).tolist() == [[False, True]]


def test_margin_values():
    """For two classes, to the nearest tenth: the numbers by which a run's margins are read."""
    for name, expected in {"float16": 7.6, "bfloat16": 5.5, "float32": 16.6, "float64": 36.7}.items():
        assert math.log(2 / torch.finfo(DTYPES[name]).eps) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", DTYPES)
def test_probe_collapse_margins(name):
    """Any class (the released code) and the true class (Eq. 2): rows of both kinds, at both margins."""
    for classes in CLASSES:
        loss, dtype = SoftmaxCrossEntropy(dtype=name), DTYPES[name]
        below, above = (math.log(2 * others / torch.finfo(dtype).eps) for others in (1, classes - 1))
        margins = [below - slack(below, dtype), above + slack(above, dtype)]
        for margin, collapsed in zip(margins, (0.0, 1.0), strict=True):
            logits = rows_at([margin] * 4, classes)
            labels = torch.tensor([[0, 0, 0, 1]])
            rows = Rows(logits, labels, loss.row_losses(logits, labels, {}), loss, {})
            found = {key: float(value) for key, value in SoftmaxCollapse().measure(SimpleNamespace(train=rows)).items()}
            assert found["sc_any_fraction"] == collapsed
            assert found["sc_true_fraction"] == 0.75 * collapsed
            assert found["sc_loss_fraction"] == collapsed


@pytest.mark.parametrize("name", DTYPES)
def test_stablemax_normaliser_collapse(name):
    """Logits m and -m: s is 1 + m and 1/(1 + m), absorbed when (V - 1)/(1 + m) is half the spacing at 1 + m."""
    for classes in CLASSES:
        epsilon, loss = torch.finfo(DTYPES[name]).eps, StableMaxCrossEntropy(dtype=name)
        # The spacing at t is between εt/2 and εt, so that the collapse of one term is between t² = 2/ε and t² = 4/ε.
        sizes = [0.95 * math.sqrt(2 / epsilon), 1.05 * math.sqrt(4 * (classes - 1) / epsilon)]
        logits = rows_at(sizes, classes) - 1
        logits[0, :, 1:] = 1 - torch.tensor(sizes, dtype=torch.float64).unsqueeze(1)
        assert loss.collapsed(logits).tolist() == [[False, True]]


@pytest.mark.parametrize("name", ["bfloat16", "float32", "float64"])
def test_taylor_normaliser_collapse(name):
    """The others' terms are 1 each: absorbed when the largest, 1 + m + m²/2, is between 2/ε and 4(V - 1)/ε.

    Not in float16, where for many classes that is beyond its largest number, 65504.
    """
    for classes in CLASSES:
        epsilon, loss = torch.finfo(DTYPES[name]).eps, TaylorSoftmaxCrossEntropy(dtype=name)
        terms = [0.95 * 2 / epsilon, 1.05 * 4 * (classes - 1) / epsilon]
        margins = [math.sqrt(2 * term - 1) - 1 for term in terms]
        assert loss.collapsed(rows_at(margins, classes)).tolist() == [[False, True]]
