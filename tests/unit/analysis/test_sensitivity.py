"""Other thresholds and horizons: the map again, and how far it orders the cells alike."""

import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from analysis.comparing.sensitivity import kendall, sensitivity, sensitivity_line, sensitivity_table
from analysis.diagram.cells import build
from tests.support.synthetic import make_sweep, make_trial, wd_vs_orthograd


def test_variants_of_the_map():
    diagram = build(make_sweep(wd_vs_orthograd()))
    variants = sensitivity(diagram)
    assert [(each.threshold, each.tau_steps) for each in variants] == [
        (0.95, 1500), (0.5, 1500), (0.9, 1500), (0.99, 1500), (0.95, 750), (0.95, 1125),
    ]  # fmt: skip
    assert variants[0].rmst_steps == tuple(cell.main.restricted_mean_steps.value for cell in diagram.cells)
    half = build(make_sweep(wd_vs_orthograd()), event="t_gen:.5")
    assert variants[1].rmst_steps == tuple(cell.main.restricted_mean_steps.value for cell in half.cells)
    short = build(make_sweep(wd_vs_orthograd()), tau_steps=750)
    assert variants[4].by_tau == pytest.approx([cell.main.by_tau.value for cell in short.cells])
    assert len(sensitivity_table(diagram, variants)) == 6 * len(diagram.cells)


def test_the_order_of_the_cells():
    """Three cells whose order at half the horizon is a tie: what came later is not known then."""
    trials = [
        make_trial(f"{width}-{seed}", {"m.width": width, "seed": seed}, t_mem=20, t_gen=t_gen)
        for width, t_gen in {1: 1400, 2: 1300, 3: 1200}.items()
        for seed in range(2)
    ]
    diagram = build(make_sweep(trials))
    line = sensitivity_line(diagram, sensitivity(diagram))
    assert line.endswith("(Kendall's τ, 1: the same): threshold 0.5: 1.00, 0.9: 1.00, 0.99: 1.00; "
                         "by step 750: –, 1125: –")  # fmt: skip


def test_kendall():
    values = np.random.default_rng(0).integers(0, 6, (40, 2, 9)).astype(float)
    for first, second in values:
        assert kendall(first, second) == pytest.approx(kendalltau(first, second).statistic)
    assert math.isnan(kendall(np.array([1.0, 2, math.nan]), np.array([1.0, 2, 3])))
    assert math.isnan(kendall(np.ones(4), np.arange(4.0)))
