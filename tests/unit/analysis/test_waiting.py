"""Curves of waiting: their bands agree with the tables and cover; their panels lie where the diagram has its cells."""

import math

import numpy as np
import pytest

from analysis.diagram.cells import build
from analysis.diagram.waiting import WAITING_COLUMNS, waiting_picture, waiting_table
from analysis.drawing.waiting import in_rows
from analysis.stats.survival import CensoredTimes
from analysis.stats.waiting import waiting_curve
from tests.support.synthetic import grid_sweep, make_sweep, make_trial, wd_vs_orthograd
from trainables.engine.events import KINDS, Event

CENSORED, EVENT, DIVERGED, *_ = KINDS
TAU = 1000.0


def times(*events: tuple[str, float, float]) -> CensoredTimes:
    return CensoredTimes.of([Event("t_gen", 0.95, *event) for event in events], TAU)


def test_the_band_ends_in_the_interval_of_the_table():
    for cell in build(make_sweep(wd_vs_orthograd())).cells:
        curve = waiting_curve(CensoredTimes.of([placed.main for placed in cell.trials if placed.main], 1500), 1500)
        assert curve is not None
        share = cell.main.by_tau
        assert (curve.steps[0], curve.steps[-1]) == (0, 1500)
        assert (curve.incidence[-1], curve.low[-1], curve.high[-1]) == pytest.approx(
            (share.value, share.low, share.high)
        )
        assert np.all((curve.low <= curve.incidence + 1e-9) & (curve.incidence <= curve.high + 1e-9))
        assert np.all(np.diff(curve.low) >= 0)


def test_what_is_not_known_at_a_time_widens_the_band():
    """Inside an interval the event may or may not have come; a diverged trial never has it; a lost one may."""
    known = waiting_curve(times((EVENT, 390, 400), (CENSORED, TAU, math.inf), (DIVERGED, 9, 10)), TAU)
    wide = waiting_curve(times((EVENT, 90, 400), (CENSORED, TAU, math.inf), (DIVERGED, 9, 10)), TAU)
    lost = waiting_curve(times((EVENT, 390, 400), (CENSORED, TAU, math.inf), (CENSORED, 600, math.inf)), TAU)
    assert known is not None and wide is not None and lost is not None  # noqa: PT018

    def at(curve, step):
        place = np.searchsorted(curve.steps, step, side="right") - 1
        return curve.low[place], curve.high[place]

    assert at(known, 200) == at(known, 0) == at(wide, 50)
    assert at(wide, 200)[1] > at(known, 200)[1]
    assert at(lost, 500) == at(known, 500)
    assert at(lost, 800)[1] > at(known, 800)[1]
    alone = waiting_curve(times((EVENT, 390, 400), (CENSORED, 600, math.inf)), TAU)
    assert alone is not None
    assert alone.steps[-1] == 600, "nobody was followed further"


def test_the_band_covers_at_every_time():
    """Log-normal times seen on a geometric grid, one third never, some lost on the way."""
    rng, grid = np.random.default_rng(0), np.append(np.round(1.3 ** np.arange(1, 27)), TAU)
    checked = (150.0, 320.0, TAU)
    truth = [2 / 3 * 0.5 * (1 + math.erf((math.log(t / 300) / 0.6) / math.sqrt(2))) for t in checked]
    covered, draws = np.zeros(3), 300
    for _ in range(draws):
        events = []
        for time in rng.lognormal(math.log(300), 0.6, 4):
            until = rng.choice([500.0, TAU])
            time = time if rng.random() < 2 / 3 else math.inf
            place = np.searchsorted(grid, time)
            seen = place < len(grid) and grid[place] <= until
            low = grid[place - 1] if place else 0.0
            events.append((EVENT, low, grid[place]) if seen else (CENSORED, until, math.inf))
        curve = waiting_curve(times(*events), TAU)
        for index, time in enumerate(checked):
            if curve.steps[-1] < time:
                covered[index] += 1
                continue
            place = np.searchsorted(curve.steps, time, side="right") - 1
            covered[index] += curve.low[place] <= truth[index] <= curve.high[place]
    assert np.all(covered >= 0.95 * draws)


def test_panels_lie_where_the_diagram_has_its_cells():
    grid = waiting_picture(build(make_sweep(grid_sweep())))
    assert [(panel.title, panel.column, panel.row, panel.note) for panel in grid.panels][:2] == [
        ("train fraction 0.3", 0, 0, "0 of 3"),
        ("train fraction 0.4", 1, 0, "3 of 3"),
    ]
    assert grid.rows == ("float16", "float32", "float64")
    upwards = waiting_picture(build(make_sweep(grid_sweep()), x="dtype"))
    assert upwards.rows == ("0.6", "0.5", "0.4", "0.3")
    assert {panel.row for panel in upwards.panels if panel.note == "0 of 3"} == {0, 3}
    assert list(in_rows(8))[4] == (0, 1)


def test_the_numbers_are_a_documented_table():
    table = waiting_table(build(make_sweep(wd_vs_orthograd())))
    documented = ", ".join(WAITING_COLUMNS).replace("<axis>", "arm, optimizer.weight_decay").split(", ")
    assert {*table} == {*documented}
    last = table[table.event == "t_gen"].groupby("cell").incidence.last()
    assert last["AdamW, weight decay 8"] == pytest.approx(0.8)


def test_nobody_was_measured():
    assert waiting_curve(times(), TAU) is None
    (panel,) = waiting_picture(build(make_sweep([make_trial("a", {"seed": 0}, until_steps=3)]))).panels
    assert panel.main is not None
    assert panel.main.steps[-1] == 3
