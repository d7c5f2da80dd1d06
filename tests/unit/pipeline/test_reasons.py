"""Why a plan runs what it runs."""

import random
from dataclasses import replace

from pipeline.plan.reasons import reasons
from pipeline.spec import SweepSpec
from tests.unit.pipeline.test_plan import BIG, FINER, LONGER, MORE, TRIAL, plan, row, seeded
from trainables.engine.config import canonical_json
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.optimizers import AdamW
from trainables.engine.trial import Seeds

DECAYS = [TRIAL.replace(optimizer=AdamW(weight_decay=decay)) for decay in (0, 1, 4)]
HELD = [row(trial, "finished", 1000) for decay in DECAYS for trial in seeded(decay, 2)]


def why(asked, rows=HELD, checkpoints=None, **changes):
    rows = list(rows)
    random.Random(0).shuffle(rows)
    return reasons(plan(asked, rows, checkpoints, **changes), {each.trial_id: each for each in rows})


def test_a_new_trial_is_told_from_the_nearest_in_the_ledger():
    def spec(base=TRIAL, axis=(0, 1, 4), seeds=2):
        space = SweepSpec(base=base, axes={"optimizer.weight_decay": axis}, seeds=range(seeds))
        return [trial.config for trial in space.trials()]

    wider = TRIAL.replace(model=TRIAL.model.replace(hidden=(16,)))
    assert why(spec()) == []
    assert why(spec(wider)) == ["6 new: model.hidden = [16], where the ledger has [8]"]
    assert why(spec(seeds=4)) == ["6 new: seeds = 2, 3, where the ledger has 0, 1"]
    # Of a field at its default, of a whole component, of a field at another default than the row's.
    assert why(spec(TRIAL.replace(gradient=OrthogonalGradient(scope="global")))) == [
        "6 new: gradient = OrthogonalGradient(scope=global), where the ledger has PlainGradient"
    ]
    # Two axes that grow: what is new in one of them, in the other, and in both.
    assert why(spec(axis=(0, 1, 4, 8), seeds=3)) == [
        "3 new: seeds = 2, where the ledger has 0, 1",
        "2 new: optimizer.weight_decay = 8, where the ledger has 0, 1, 4",
        "1 new: optimizer.weight_decay = 8 and seeds = 2, where the nearest in the ledger have 0, 1, 4 and 0, 1",
    ]
    # What a later version of a class has more is at its default in older rows.
    older = [replace(each, config_json=each.config_json.replace('"label_smoothing":0.0,', "")) for each in HELD]
    assert older != HELD
    assert why(spec(wider), older) == why(spec(wider))


def test_a_ledger_without_anything_alike():
    assert why([TRIAL], []) == []
    other = row(BIG, "finished", 1000)
    config = canonical_json(BIG.to_json() | {"class": "mylab:Other"})
    assert why([TRIAL], [replace(other, config_json=config)]) == ["1 new: the ledger has no GrokkingTrial yet"]


def test_another_question_is_not_told_field_by_field():
    other = TRIAL.replace(
        task=TRIAL.task.replace(p=7), gradient=OrthogonalGradient(), optimizer=AdamW(eps=1e-3), alpha=2.0
    )
    assert why([*seeded(other, 2), TRIAL]) == [
        "2 new: unlike any that the ledger has",
    ]


def test_other_trials_go_on_or_start_again_for_a_reason():
    def trial(config, seed):
        return config.replace(seeds=Seeds.all(seed))

    asked = [trial(config, seed) for seed, config in enumerate([LONGER, LONGER, MORE, FINER, TRIAL, TRIAL])]
    held = [
        row(trial(TRIAL, 0), "finished", 1000),
        row(trial(TRIAL, 1), "finished", 1000),
        row(trial(TRIAL, 2), "stopped", 400, stop_reason="success"),
        row(trial(TRIAL, 3), "finished", 1000),
        row(trial(TRIAL, 4), "running", 500),
        row(trial(TRIAL, 5), "failed", 500, error_kind="error", error="no"),
    ]
    checkpoints = {held[number].trial_id: held[number].last_step for number in (0, 2, 4)}
    assert why(asked, held, checkpoints, rerun_failed=True) == [
        "1 from the beginning: failed before",
        "1 from the beginning: horizon raised from 1000 to 2000, and there is no checkpoint to go on from",
        "1 from the beginning: the rows lack measurements that are asked for now (measuring)",
        "1 to continue: horizon raised from 1000 to 2000",
        "1 to continue: interrupted",
        "1 to continue: stopped before what is waited for now was decided",
    ]
