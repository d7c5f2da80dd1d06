"""Sweep: the same from a ledger and from its file, and honest about what was not followed."""

import dataclasses
import json
import math

import numpy as np
import pytest

from analysis.data.kept import collect, read_kept, rounded, save, sized_name
from analysis.data.source import open_sweep
from analysis.data.sweep import Sweep, SweepError, Trial
from pipeline.ledger import Ledger
from tests.support.synthetic import fill_ledger, make_trial
from tests.support.synthetic_evidence import made_trial

COLUMNS = ("train_accuracy", "test_accuracy", "parameter_norm", "absent")


def same(left: Sweep, right: Sweep) -> bool:
    """Equal in everything; arrays where NaN equals NaN."""
    plain = [[dataclasses.replace(trial, curves={}) for trial in each.trials] for each in (left, right)]
    assert (left.size, plain[0]) == (right.size, plain[1])
    for one, other in zip(left.trials, right.trials, strict=True):
        assert set(one.curves) == set(other.curves)
        for name, values in one.curves.items():
            np.testing.assert_array_equal(values, other.curves[name], strict=True)
    return True


@pytest.fixture
def ledger(tmp_path):
    trials = [
        make_trial("a", {"arm": "x", "optimizer.weight_decay": 1, "seed": 0}, t_mem=30, t_gen=400),
        make_trial(
            "b", {"arm": "x", "optimizer.weight_decay": 1, "seed": 1}, t_mem=30, t_gen=300, stop_reason="success"
        ),
        make_trial("c", {"arm": "y", "seed": 0}, t_mem=30, until_steps=600),
        dataclasses.replace(make_trial("d", {"arm": "y", "seed": 1}), rows={}),
    ]
    found = Ledger.open(str(tmp_path / "ledger"), create=True)
    fill_ledger(found, "fig99_made_up_full", trials)
    return found


def test_round_trip(ledger, tmp_path):
    found = collect(ledger, "fig99_made_up", "full", COLUMNS)
    path = save(found, "fig99_made_up_full", tmp_path)
    assert path.name == "fig99_made_up_full.parquet"
    kept = read_kept("fig99_made_up_full", tmp_path)
    assert kept is not None
    assert same(found, kept)
    assert found.trials[0].config["task"]["p"] == 113


def test_a_kept_file_is_a_source(ledger, tmp_path):
    save(collect(ledger, "fig99_made_up", "full", COLUMNS), "fig99_made_up_full", tmp_path / "kept")
    kept, source = (open_sweep("fig99_made_up_full", uri) for uri in (str(tmp_path / "kept"), ledger.uri))
    assert (kept.events, kept.phases, kept.doc, kept.task) == (source.events, source.phases, source.doc, source.task)
    for ours, theirs in zip(kept.where(), source.where(), strict=True):
        assert str(ours.event("t_gen")) == str(theirs.event("t_gen"))


def test_rounding_error(ledger):
    found = collect(ledger, "fig99_made_up", "full", COLUMNS)
    table = ledger.trajectories(["a"]).to_pandas()
    np.testing.assert_array_equal(found.trials[0].curves["step"], table["step"])
    np.testing.assert_allclose(found.trials[0].curves["parameter_norm"], table["parameter_norm"], rtol=2**-14)
    np.testing.assert_allclose(found.trials[0].curves["test_accuracy"], table["test_accuracy"], rtol=2**-24)
    assert np.isnan(found.trials[0].curves["absent"]).all()


def test_a_trial_not_begun(ledger):
    found = collect(ledger, "fig99_made_up", "full", COLUMNS)
    assert [trial.begun for trial in found.trials] == [True, True, True, False]
    assert found.trials[3].state == "missing"
    assert found.trials[3].coordinates == {"arm": "y", "seed": 1}
    assert math.isnan(found.trials[3].final("test_accuracy"))


def test_an_unknown_sweep_is_empty(ledger, tmp_path):
    assert not collect(ledger, "fig99_made_up", "laptop", COLUMNS)
    assert not collect(ledger, "fig99_made_up", "full", COLUMNS, sized=False)
    assert read_kept("nothing", tmp_path) is None
    assert sized_name("a", "full") == "a_full"
    assert sized_name("a", "full", sized=False) == "a"


def test_truncated_at_the_horizon(tmp_path):
    """A trial's rows are shared; the shorter sweep does not see beyond its own horizon."""
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    long = make_trial("a", {"seed": 0}, t_mem=30, t_gen=1200, stop_reason="success")
    fill_ledger(ledger, "f_laptop", [long], horizon_steps=500)
    (trial,) = collect(ledger, "f", "laptop", ("test_accuracy",)).trials
    assert (trial.last_step, trial.horizon_steps, trial.stop_reason, trial.state) == (500, 500, None, "finished")
    assert trial.curves["step"].max() <= 500


def test_horizons_of_arms(tmp_path):
    """Also where a trial was run for less, for another sweep: then the rest is missing, not reached."""
    ledger = Ledger.open(str(tmp_path / "ledger"), create=True)
    made = [make_trial(arm, {"arm": arm, "seed": 0}, t_mem=30, t_gen=math.inf) for arm in ("short", "long")]
    fill_ledger(ledger, "f_full", made, horizon_steps=9000)
    arms = [{"name": "short", "axes": [], "horizon_steps": 300}, {"name": "long", "axes": [], "horizon_steps": 9000}]
    ledger.record_sweep(
        dataclasses.replace(ledger.sweep("f_full"), axes_json=json.dumps({"axes": [], "arms": arms, "seeds": [0]}))
    )
    short, long = collect(ledger, "f", "full", ("test_accuracy",)).trials
    assert (short.last_step, short.horizon_steps) == (300, 300)
    assert long.last_step < long.horizon_steps == 9000
    assert long.known_until == long.last_step


def test_a_broken_file(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"nonsense")
    with pytest.raises(SweepError, match=r"x\.parquet: cannot be read"):
        read_kept("x", tmp_path)


def test_extra_arrays(tmp_path):
    trial = made_trial("a", {"seed": 0})
    trial = dataclasses.replace(trial, curves={**trial.curves, "plane": np.array([1.0, np.nan, 3.0])})
    kept = read_kept(save(Sweep(size="laptop", trials=(trial,)), "x", tmp_path).stem, tmp_path)
    assert kept is not None
    np.testing.assert_array_equal(kept.trials[0].curves["plane"], [1.0, np.nan, 3.0])


def test_rounding_is_idempotent():
    values = np.array([0.0, 1.0, -3.3e-7, 123456.789, np.nan, np.inf])
    once = rounded("loss", values)
    np.testing.assert_allclose(once, values, rtol=2**-14)
    np.testing.assert_array_equal(rounded("loss", once), once)
    assert rounded("test_accuracy", np.array([7279 / 7662]))[0] == np.float32(7279 / 7662)


# --- one trial ----------------------------------------------------------------------------------------------------


def trial(steps, values, **more):
    given = {"trial_id": "t", "space": "s", "coordinates": {"seed": 3}, "last_step": int(steps[-1]),
             "horizon_steps": 1000}  # fmt: skip
    curves = {"step": np.array(steps, dtype=float), "test_accuracy": np.array(values, dtype=float)}
    curves["norm"] = np.arange(len(steps), dtype=float)
    return Trial(**(given | more), curves=curves)


def test_values_at_steps():
    found = trial([0, 10, 20, 40], [0.0, 0.2, np.nan, 0.6])
    assert found.at("test_accuracy", 10) == found.at("test_accuracy", 39) == 0.2
    assert found.at("test_accuracy", 40) == found.final("test_accuracy") == found.largest("test_accuracy") == 0.6
    assert math.isnan(found.at("test_accuracy", 41)), "not followed so far"
    assert found.first_reaching("test_accuracy", 0.2) == 10
    assert found.first_reaching("test_accuracy", 0.7) == math.inf


def test_accuracy_after_a_success():
    found = trial([0, 10, 20], [0.0, 0.2, 0.99], stop_reason="success")
    assert found.at("test_accuracy", 1000) == 0.99
    assert found.known_until == math.inf
    assert math.isnan(found.at("norm", 1000)), "its norm would have gone on changing"
    frozen = trial([0, 10, 20], [0.0, 0.2, 0.2], stop_reason="frozen")
    assert frozen.at("norm", 1000) == frozen.final("norm"), "it stands for ever"


def test_a_column_that_was_not_read():
    with pytest.raises(SweepError, match="train_loss: must be one of the columns that were read"):
        trial([0, 1], [0, 1]).measured("train_loss")


def test_events():
    found = made_trial("a", {"seed": 0}, t_gen=0.5)
    event = found.event("t_gen", 0.5)
    assert event.occurred
    assert event.low_steps <= 500 <= event.high_steps * 1.1
    assert found.event("t_gen", 0.3).high_steps <= event.high_steps
    with pytest.raises(SweepError, match="has no measurements"):
        Trial(trial_id="t", space="s", coordinates={}).event("t_gen", 0.5)


# --- many trials --------------------------------------------------------------------------------------------------


@pytest.fixture
def evidence():
    trials = [
        made_trial(f"{arm}{decay}{seed}", {"arm": arm, "optimizer.weight_decay": decay, "seed": seed}, space=arm)
        for arm in ("x", "y")
        for decay in (0.5, 1.0)
        for seed in range(3)
    ]
    trials.append(Trial(trial_id="z", space="x", coordinates={"arm": "x", "seed": 9}, horizon_steps=1000))
    return Sweep(size="full", trials=tuple(trials))


def test_where_and_by_seed(evidence):
    assert len(evidence.where()) == 12, "those that were begun"
    assert [trial.seed for trial in evidence.where(arm="x", weight_decay=1)] == [0, 1, 2]
    assert len(evidence.where(weight_decay=[0.5, 1], seed=2)) == 4
    assert len(evidence.where(space="y")) == 6
    assert evidence.where(arm="w") == ()
    assert evidence.values("weight_decay") == (0.5, 1.0)
    assert [*evidence.by_seed(arm="y", weight_decay=0.5)] == [0, 1, 2]
    assert evidence.trials[0].setting == {"arm": "x", "optimizer.weight_decay": 0.5}
    with pytest.raises(SweepError, match="leaves more than one trial to seed 0"):
        evidence.by_seed(arm="y")
    with pytest.raises(SweepError, match=r"weight_decoy: must be an axis of the sweep: arm, optimizer\.weight"):
        evidence.where(weight_decoy=1)


def test_seeds_of_split_and_init():
    found = made_trial("a", {"arm": "x", "seeds.split": 1, "seeds.init": 2})
    assert found.seed == (("seeds.init", 2), ("seeds.split", 1))
    assert found.setting == {"arm": "x"}


def test_extent(evidence):
    assert Sweep(size="full").extent() == "nothing was run"
    assert evidence.extent() == "3 of 4 seeds, 12 of 13 trials begun, all 1\u202f000 steps"

    def of(*until, **more):
        trials = [made_trial(f"{k}", {"seed": k}, until=share, **more) for k, share in enumerate(until)]
        return Sweep(size="full", trials=tuple(trials)).extent()

    assert of(0.25) == "1 seed, 250 of 1\u202f000 steps"
    assert of(0.25, 1.0, 0.25) == "3 seeds, 250 of 1\u202f000 steps in 2 trials"
    assert of(0.25, 0.5, 1.0) == "3 seeds, 250 to 500 of 1\u202f000 steps in 2 trials"
    assert of(0.25, 0.5) == "2 seeds, 250 to 500 of 1\u202f000 steps"
    assert of(0.25, 0.5, stop_reason="success") == "2 seeds, all 1\u202f000 steps"


def test_coordinates_round_trip(tmp_path):
    trial = made_trial("a", {"arm": "⊥AdamW", "decay": 1.0, "seed": 2, "flag": True, "none": None})
    kept = read_kept(save(Sweep(size="full", trials=(trial,)), "x", tmp_path).stem, tmp_path)
    assert kept is not None
    assert json.dumps(dict(kept.trials[0].coordinates)) == json.dumps(dict(trial.coordinates))
