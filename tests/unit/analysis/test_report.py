"""The report: a command of its own, small enough for a thousand trials, with what it takes to cite and repeat it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis import report
from analysis.comparing.sensitivity import sensitivity, sensitivity_line
from analysis.data.origin import Origin
from analysis.diagram.cells import build
from analysis.diagram.influence import influence
from analysis.page.cells import grid
from analysis.page.cite import bibtex
from analysis.page.page import page
from analysis.page.svg import SIDE, Scale, path, value_scale
from pipeline.ledger import Ledger
from tests.support.synthetic import fill_ledger, grid_sweep, make_sweep, make_trial, wd_vs_orthograd
from tests.support.synthetic_baselines import AXES, CONFIG, HORIZON, three_methods
from trainables.runtime.rows import TrialRow, TrialState


def test_the_command(tmp_path, capsys):
    uri = str(tmp_path / "ledger")
    fill_ledger(Ledger.open(uri, create=True), "grid", grid_sweep())
    out = tmp_path / "out"
    assert report.main(["grid", "--from", uri, "--out", str(out), "--event", "t_mem", "--tau", "400"]) == 0
    said = capsys.readouterr().out
    assert [path.name for path in out.iterdir()] == ["report.html"]
    assert f"Open it: xdg-open {out / 'report.html'}" in said
    assert "t_mem comes soonest with " in said
    text = (out / "report.html").read_text(encoding="utf-8")
    assert f"python -m analysis.report grid --from {uri} --event t_mem --tau 400" in text
    for options, line in (
        (["other", "--from", uri], f"ledger: {uri} has no sweep 'other'; its sweeps: grid"),
        (["grid", "--from", uri, "--tau", "0"], "--tau 0: must be above 0 and at most the sweep's horizon, 1500 steps"),
        (["grid", "--from", uri, "--out", "/dev/null/x"], "--out /dev/null/x: cannot be written (Not a directory)"),
    ):
        assert report.main(options) == 2
        assert capsys.readouterr() == ("", f"error: {line}\n")


def test_a_thousand_trials_are_less_than_8_mb():
    """Of as many columns as a trial of the house measures by default."""
    rng = np.random.default_rng(0)
    trials = []
    for decay in range(8):
        for rate in range(5):
            for seed in range(25):
                place = {"optimizer.weight_decay": decay / 4, "optimizer.learning_rate": 0.001 * 2**rate, "seed": seed}
                trial = make_trial(f"t{decay}-{rate}-{seed}", place, t_mem=40, t_gen=float(rng.uniform(60, 3000)))
                steps = trial.rows["step"]
                more = {f"probe_{number}": rng.normal(size=len(steps)).cumsum() for number in range(6)}
                trials.append(replace(trial, rows={**trial.rows, **more}))
    text = page(build(make_sweep(trials)))
    assert len(text.encode()) < 8e6
    paths = json.loads(text.partition('id="paths">')[2].partition("</script>")[0])
    assert [len(cell) for cell in paths] == [25 * 12] * 40, "every trial has all its curves"


def test_a_sweep_without_events(tmp_path, capsys):
    """Its cells open their curves too, and the answer says who is not at the end."""
    uri = str(tmp_path / "ledger")
    trials = three_methods()
    fill_ledger(Ledger.open(uri, create=True), "made", trials, horizon_steps=HORIZON, config=CONFIG, axes=AXES)
    assert report.main(["made", "--from", uri, "--out", str(tmp_path)]) == 0
    assert "57.00 ± 5.27" in capsys.readouterr().out
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    answer = "test accuracy is best with ⊥SGD: 70.00 %, 1 seed (1 of 3 diverged, 1 of 3 at step 200 of 400)."
    assert answer in text
    paths = json.loads(text.partition('id="paths">')[2].partition("</script>")[0])
    assert [len(cell) for cell in paths] == [3 * 4] * 3, "accuracy and loss, of both splits"
    assert report.main(["made", "--from", uri, "--event", "t_gen"]) == 2
    assert "--event t_gen: made declares no event" in capsys.readouterr().err


def test_a_facet_is_a_grid_a_panel():
    trials = [
        replace(trial, trial_id=f"{arm}-{trial.trial_id}", coordinates={"arm": arm, **trial.coordinates})
        for arm in ("AdamW", "SGD")
        for trial in grid_sweep()
    ]
    shown = grid(build(make_sweep(trials), facet="arm"))
    assert [name for name, _ in shown["panels"]] == ["AdamW", "SGD"]
    tiles = [tile for _, rows in shown["panels"] for _, row in rows for tile in row if tile]
    assert sorted(tile["index"] for tile in tiles) == list(range(22))
    assert len({(tile["row"], tile["column"]) for tile in tiles}) == 22, "arrow keys lead from panel to panel"


def test_what_failed_and_why():
    rows = [
        TrialRow(
            trial_id=f"t{number}",
            config_json="{}",
            state=TrialState.FAILED if number else TrialState.FINISHED,
            stop_reason=None,
            last_step=100,
            device_kind="cpu:ours",
            data_fingerprint="",
            source_hash="",
            provenance_json=json.dumps({"commit": commit, "dirty": False}),
            committed_at="2026-01-02T03:04:05+00:00",
            error="wanted <2 GB>" if number else None,
            error_kind="out_of_memory" if number else None,
        )
        for number, commit in enumerate(["a" * 40, "b" * 40, "a" * 40])
    ]
    origin = Origin.of("r" * 64, "2026-01-02", rows)
    text = page(build(replace(make_sweep(grid_sweep()), origin=origin)))
    assert "2 trials (t1, ...): out of memory: wanted &lt;2 GB&gt;" in text
    assert f"git checkout {'a' * 40}" in text


def test_how_to_cite_it():
    entries = bibtex(
        make_sweep(wd_vs_orthograd(), doc="Why?  (Kumar et al. 2024)\n\nAlso arXiv:1234.56789, arXiv:2501.04697v2.")
    )
    keys = [line.partition("{")[2].rstrip(",") for line in entries.splitlines() if line.startswith("@")]
    assert keys == ["prieto2025", "kumar2024", "arxiv1234.56789", "grokscape"]
    assert "eprint = {2310.06110}" in entries
    assert entries.count("{") == entries.count("}")


def test_where_nothing_happens_nothing_is_made_up():
    """No effect in percent of a variance of zero, and no order of cells that are all alike."""
    trials = [
        make_trial(f"t{decay}-{seed}", {"optimizer.weight_decay": decay, "seed": seed}, t_mem=40)
        for decay in range(4)
        for seed in range(3)
    ]
    diagram = build(make_sweep(trials))
    line = sensitivity_line(diagram, sensitivity(diagram))
    assert line == ""
    text = page(diagram, influence=influence(diagram), sensitivity=line)
    assert "No seed of 4 cells has t_gen: test accuracy ≥ 0.95 by step 1500." in text
    assert "nan" not in text.lower()
    assert "Other thresholds" not in text


# --- charts ---------------------------------------------------------------------------------------------------------


def test_a_path_has_gaps_where_nothing_was_measured():
    up = np.array([0.0, 0.5, np.nan, 1.0, 1.0])
    assert path(np.linspace(0, 1, 5), up) == f"M0 {SIDE}l250-500M750 0l250 0"
    assert path(np.array([0.5]), np.array([0.25])) == "M500 750l0 0", "a single point is a dot"
    assert path(np.array([np.nan]), np.array([1.0])) == ""


@pytest.mark.parametrize(
    ("values", "share", "logarithmic", "ends"),
    [
        ([0.2, 0.4], True, False, (0.0, 1.0)),
        ([1e-7, 4.0], False, True, (1e-7 / 1.2, 4.8)),
        ([0.0, 1e-7, 4.0], False, True, (1e-7 / 1.2, 4.8)),
        ([-3.0, 4000.0], False, False, (-163.12, 4160.12)),
        ([5.0, 5.0, np.inf], False, False, (2.5, 7.5)),
        ([np.nan], False, False, (0.0, 1.0)),
    ],
)
def test_the_scale_of_a_chart(values, share, logarithmic, ends):
    scale = value_scale(values, share=share)
    assert scale.logarithmic == logarithmic
    assert (scale.low, scale.high) == pytest.approx(ends)


def test_places_lie_within_the_side():
    scale = Scale(1, 1000, logarithmic=True)
    assert [scale.place(value) for value in (0, 1, 10, 1000, np.inf)] == [0, 0, 33.33, 100, 100]
    assert scale.ticks() == [(0, "1"), (33.33, "10"), (66.67, "100"), (100, "1000")]
