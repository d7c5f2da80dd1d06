"""The plan: what rows cover, from where the rest goes on, how it is packed, and what it will cost."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.plan import Plan, make_plan
from pipeline.plan.coverage import starting_step
from pipeline.spec import Arm, Objective, PlannedTrial, SweepSpec
from pipeline.spec.space_file import LoadedSpace
from pipeline.terminal.dry_run import describe, duration, summary
from trainables.data.mnist import MNISTSubset
from trainables.engine.config import canonical_json
from trainables.engine.events import ACCURACY_EVENTS, rises_to
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.models import MLP
from trainables.engine.probes import STANDARD
from trainables.engine.stopping import Stopping
from trainables.engine.tasks import ModularAddition
from trainables.engine.trial import Measuring, Seeds
from trainables.grokking import GrokkingTrial
from trainables.runtime.rows import TrialRow

TRIAL = GrokkingTrial(task=ModularAddition(p=5), model=MLP(hidden=(8,)), horizon_steps=1000)
BIG = GrokkingTrial(task=ModularAddition(), horizon_steps=1000)
CPU = "cpu:Some Processor"


def row(held: GrokkingTrial, state: str, last_step: int, **changes: Any) -> TrialRow:
    """What the ledger has of a trial that was asked for as ``held``."""
    found = TrialRow(
        trial_id=held.trial_id,
        config_json=canonical_json(held.to_json()),
        state=state,
        last_step=last_step,
        train_s=2.0,
        device_kind=CPU,
        data_fingerprint=held.data_fingerprint(),
        source_hash="source",
        provenance_json="{}",
        committed_at="2025-01-01T00:00:00+00:00",
    )
    return replace(found, **changes)


def planned(configs: Sequence[GrokkingTrial]) -> list[PlannedTrial]:
    return [PlannedTrial(config, {"n": number}) for number, config in enumerate(configs)]


def seeded(config: GrokkingTrial, count: int) -> list[GrokkingTrial]:
    return [config.replace(seeds=Seeds.all(seed)) for seed in range(count)]


def plan(
    configs: Sequence[GrokkingTrial],
    rows: Sequence[TrialRow] = (),
    checkpoints: dict[str, int] | None = None,
    **changes: Any,
) -> Plan:
    settings: dict[str, Any] = {"device_kind": CPU, "workers": 2} | changes
    return make_plan(planned(configs), {r.trial_id: r for r in rows}, (checkpoints or {}).get, **settings)


LONGER = TRIAL.replace(horizon_steps=2000)
WATCHING = TRIAL.replace(stopping=Stopping(on_success=False))
MORE = TRIAL.replace(events=(*ACCURACY_EVENTS, rises_to("sc_any_fraction", 0.5, name="t_collapse")))
FINER = TRIAL.replace(measuring=Measuring(ratio=1.02))
DENSER = TRIAL.replace(measuring=Measuring(dense_until_steps=100))
FEWER_PROBES = TRIAL.replace(probes=STANDARD[:1])
RARELY = TRIAL.replace(probes=tuple(probe.replace(every=4) for probe in STANDARD))
KEEPING = TRIAL.replace(snapshots_every=6)
# As far as it went, 300 steps, the coarser schedule had every step of the finer one.
FINER_BEFORE = TRIAL.replace(measuring=Measuring(dense_until_steps=300), horizon_steps=300)
EVERYWHERE = TRIAL.replace(measuring=Measuring(dense_until_steps=1000))

COVERAGE = {
    # what is asked, what the ledger has, its checkpoint -> the step to start from (None: covered)
    "nothing yet": (TRIAL, None, None, 0),
    "at its horizon": (TRIAL, row(TRIAL, "finished", 1000), 1000, None),
    "beyond the horizon asked": (TRIAL, row(LONGER, "finished", 2000), 2000, None),
    "still running, but beyond the horizon asked": (TRIAL, row(LONGER, "running", 1200), 1200, None),
    "censored, horizon raised": (LONGER, row(TRIAL, "finished", 1000), 1000, 1000),
    "censored, horizon raised, checkpoint lost": (LONGER, row(TRIAL, "finished", 1000), None, 0),
    "success, horizon raised": (LONGER, row(TRIAL, "stopped", 400, stop_reason="success"), None, None),
    "success, but watched for a relapse": (WATCHING, row(TRIAL, "stopped", 400, stop_reason="success"), None, 0),
    "success beyond the horizon, watched": (
        WATCHING.replace(horizon_steps=300),
        row(TRIAL, "stopped", 400, stop_reason="success"),
        None,
        None,
    ),
    "success, another event waited for": (MORE, row(TRIAL, "stopped", 400, stop_reason="success"), 400, 400),
    "success, another event, checkpoint lost": (MORE, row(TRIAL, "stopped", 400, stop_reason="success"), None, 0),
    "success of more than is waited for": (TRIAL, row(MORE, "stopped", 400, stop_reason="success"), 400, None),
    "finished, another event": (MORE, row(TRIAL, "finished", 1000), 1000, None),
    "watched before, now success would do": (TRIAL, row(WATCHING, "finished", 1000), 1000, None),
    "diverged, horizon raised": (LONGER, row(TRIAL, "stopped", 30, stop_reason="diverged"), None, None),
    "diverged, watched": (WATCHING, row(TRIAL, "stopped", 30, stop_reason="diverged"), None, None),
    "frozen, horizon raised": (LONGER, row(TRIAL, "stopped", 600, stop_reason="frozen"), None, None),
    "frozen, freezing not asked for": (
        LONGER.replace(stopping=Stopping(on_frozen=False)),
        row(TRIAL, "stopped", 600, stop_reason="frozen"),
        None,
        None,
    ),
    "interrupted, with its checkpoint": (TRIAL, row(TRIAL, "running", 500), 500, 500),
    "interrupted, with an earlier checkpoint": (TRIAL, row(TRIAL, "running", 500), 450, 450),
    "interrupted between checkpoint and rows": (TRIAL, row(TRIAL, "running", 500), 600, 600),
    "interrupted at its very end": (TRIAL, row(TRIAL, "running", 500), 1000, 1000),
    "interrupted, then a lower horizon": (TRIAL, row(LONGER, "running", 900), 1100, 0),
    "interrupted, without a checkpoint": (TRIAL, row(TRIAL, "running", 500), None, 0),
    "interrupted before its first step": (TRIAL, row(TRIAL, "running", 0), None, 0),
    "measured too coarsely": (FINER, row(TRIAL, "finished", 1000), 1000, 0),
    "measured densely for too short": (DENSER, row(TRIAL, "finished", 1000), 1000, 0),
    "measured too coarsely, and running": (FINER, row(TRIAL, "running", 500), 500, 0),
    "measured too coarsely, but diverged": (FINER, row(TRIAL, "stopped", 500, stop_reason="diverged"), None, 0),
    "diverged before the schedules differ": (FINER, row(TRIAL, "stopped", 15, stop_reason="diverged"), None, None),
    "measured everywhere that is asked": (
        TRIAL,
        row(EVERYWHERE, "finished", 1000),
        1000,
        None,
    ),
    "the same schedule in other words, and beyond an odd horizon": (
        TRIAL.replace(horizon_steps=999),
        row(LONGER.replace(measuring=Measuring(dense_until_steps=21)), "finished", 2000),
        2000,
        None,
    ),
    "measured more, but too short": (LONGER, row(EVERYWHERE, "finished", 1000), 1000, 1000),
    "between two measurements": (TRIAL, row(TRIAL, "running", 505), 511, 511),
    "past a measurement of another schedule": (FINER, row(FINER_BEFORE, "finished", 300), 330, 0),
    "short of it": (FINER, row(FINER_BEFORE, "finished", 300), 301, 301),
    "fewer probes": (TRIAL, row(FEWER_PROBES, "finished", 1000), 1000, 0),
    "more probes": (FEWER_PROBES, row(TRIAL, "finished", 1000), 1000, None),
    "a probe that looked more often": (RARELY, row(TRIAL, "finished", 1000), 1000, None),
    "a probe that looked as rarely": (RARELY, row(RARELY, "finished", 1000), 1000, None),
    "a probe that looked too rarely": (TRIAL, row(RARELY, "finished", 1000), 1000, 0),
    "a probe that looked rarely, elsewhere": (
        RARELY,
        row(RARELY.replace(measuring=EVERYWHERE.measuring), "finished", 1000),
        1000,
        0,
    ),
    "snapshots, none kept": (KEEPING, row(TRIAL, "finished", 1000), 1000, 0),
    "none wanted, but kept": (TRIAL, row(KEEPING, "finished", 1000), 1000, None),
    "snapshots kept more often": (KEEPING, row(KEEPING.replace(snapshots_every=3), "finished", 1000), 1000, None),
    "snapshots kept at others": (KEEPING, row(KEEPING.replace(snapshots_every=4), "finished", 1000), 1000, 0),
    "snapshots kept, horizon raised": (
        KEEPING.replace(horizon_steps=2000),
        row(KEEPING, "finished", 1000),
        1000,
        1000,
    ),
    "failed": (TRIAL, row(TRIAL, "failed", 500), None, 0),
    "failed beyond the horizon asked": (TRIAL, row(LONGER, "failed", 1500), None, None),
    "a config that nobody can read": (
        TRIAL,
        row(TRIAL, "finished", 1000, config_json='{"class": "gone.Trial"}'),
        1000,
        0,
    ),
}


@pytest.mark.parametrize("case", COVERAGE)
def test_what_rows_cover_and_where_the_rest_begins(case: str) -> None:
    asked, held, checkpoint, start = COVERAGE[case]
    assert starting_step(asked, held, checkpoint) == start
    if held is None:
        return
    found = plan([asked], [held], {} if checkpoint is None else {asked.trial_id: checkpoint}, rerun_failed=True)
    assert found.cached == ({asked.trial_id} if start is None else frozenset())
    assert [(cohort.trials, cohort.start_step) for cohort in found.cohorts] == (
        [] if start is None else [((asked,), start)]
    )


def test_a_trial_that_went_further_for_a_smaller_demand_is_covered_by_the_run_for_the_larger_one() -> None:
    far, probed = row(FEWER_PROBES.replace(horizon_steps=9000), "finished", 9000), row(TRIAL, "finished", 1000)
    assert plan([TRIAL], [far]).cached == frozenset()
    assert plan([TRIAL], [far], other_protocols={TRIAL.trial_id: [probed]}).cached == {TRIAL.trial_id}
    short = {TRIAL.trial_id: [replace(probed, state="running", last_step=900)]}
    (cohort,) = plan([TRIAL], [far], {TRIAL.trial_id: 9000}, other_protocols=short).cohorts
    assert cohort.start_step == 0


def test_raising_the_horizon_continues_the_censored_trials_only() -> None:
    success, censored, diverged, fresh = seeded(LONGER, 4)
    rows = [
        row(success.replace(horizon_steps=1000), "stopped", 300, stop_reason="success"),
        row(censored.replace(horizon_steps=1000), "finished", 1000),
        row(diverged.replace(horizon_steps=1000), "stopped", 20, stop_reason="diverged"),
    ]
    found = plan([success, censored, diverged, fresh], rows, {censored.trial_id: 1000})
    assert found.cached == {success.trial_id, diverged.trial_id}
    assert {(cohort.trials, cohort.start_step) for cohort in found.cohorts} == {((censored,), 1000), ((fresh,), 0)}


def test_a_failed_trial_waits_for_rerun_failed() -> None:
    held = row(TRIAL, "failed", 200, error="no", error_kind="error")
    waiting = plan([TRIAL], [held])
    assert (waiting.failed, waiting.cohorts, waiting.cached) == ({TRIAL.trial_id}, (), frozenset())
    again = plan([TRIAL], [held], rerun_failed=True)
    assert again.failed == frozenset()
    assert [cohort.start_step for cohort in again.cohorts] == [0]


def test_a_finished_sweep_leaves_nothing_to_do() -> None:
    configs = seeded(TRIAL, 3)
    found = plan(configs, [row(config, "finished", 1000) for config in configs])
    assert found.cached == {config.trial_id for config in configs}
    assert (found.cohorts, found.notes, found.predicted_s, found.predicted_wall_s) == ((), (), 0.0, 0.0)


def test_a_cohort_shares_its_shape_and_its_start() -> None:
    plain, orthogonal = seeded(TRIAL, 4), seeded(TRIAL.replace(gradient=OrthogonalGradient()), 2)
    rows = [row(plain[0], "running", 500), row(plain[1], "running", 500), row(plain[2], "running", 200)]
    checkpoints = {plain[0].trial_id: 500, plain[1].trial_id: 500, plain[2].trial_id: 200}
    found = plan([*plain, *orthogonal], rows, checkpoints, cohort_size=10)
    assert {(cohort.trials, cohort.start_step) for cohort in found.cohorts} == {
        ((plain[0], plain[1]), 500),
        ((plain[2],), 200),
        ((plain[3],), 0),
        (tuple(orthogonal), 0),
    }


def test_every_trial_is_in_exactly_one_cohort_of_the_asked_size() -> None:
    configs = seeded(TRIAL, 23)
    for size in (1, 4, 5, 23, 100):
        cohorts = plan(configs, cohort_size=size).cohorts
        assert sorted(t.trial_id for c in cohorts for t in c.trials) == sorted(t.trial_id for t in configs)
        sizes = [len(cohort.trials) for cohort in cohorts]
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1


def test_cohorts_come_longest_first() -> None:
    small, larger = seeded(BIG.replace(task=ModularAddition(p=11)), 3), seeded(BIG, 2)
    found = plan([*small, *larger], [row(larger[1], "running", 900, train_s=0.0)], {larger[1].trial_id: 900})
    predicted = [cohort.predicted_s for cohort in found.cohorts]
    assert predicted == sorted(predicted, reverse=True)
    assert found.cohorts[0].trials == (larger[0],)
    assert found.cohorts[0].predicted_s > 5 * found.cohorts[1].predicted_s


def test_auto_is_one_for_big_trials_on_a_cpu() -> None:
    assert {len(cohort.trials) for cohort in plan(seeded(BIG, 40)).cohorts} == {1}


def test_auto_packs_small_trials_but_leaves_every_worker_two_cohorts() -> None:
    many = [len(cohort.trials) for cohort in plan(seeded(TRIAL.replace(horizon_steps=10), 200), workers=2).cohorts]
    assert (sum(many), len(many)) == (200, 4)
    for count, workers in ((8, 2), (9, 2), (7, 4), (3, 2), (64, 8)):
        assert len(plan(seeded(TRIAL, count), workers=workers).cohorts) >= min(count, 2 * workers)


def test_auto_fills_a_gpu_but_not_its_memory() -> None:
    def sizes(count: int, workers: int, trial: GrokkingTrial = BIG) -> list[int]:
        found = plan(seeded(trial, count), workers=workers, device_kind="cuda:NVIDIA H100")
        return [len(cohort.trials) for cohort in found.cohorts]

    assert sizes(90, 1) == [90]
    assert sizes(100, 4) == [25, 25, 25, 25]
    assert sizes(270, 1) == [90, 90, 90]
    assert sizes(10, 1, BIG.replace(model=MLP(hidden=(1000, 1000)))) == [5, 5]
    assert sizes(2000, 1, TRIAL) == [500, 500, 500, 500]


def test_costs_come_from_measured_times_of_the_same_shape_and_device() -> None:
    done = row(BIG, "finished", 1000, train_s=50.0)
    other = BIG.replace(seeds=Seeds.all(1), optimizer=BIG.optimizer.replace(weight_decay=2.0), horizon_steps=4000)
    assert plan([other], [done]).predicted_s == pytest.approx(4000 * 0.05)
    assert plan([other, BIG.replace(horizon_steps=4000)], [done], {BIG.trial_id: 1000}).predicted_s == pytest.approx(
        (4000 + 3000) * 0.05
    )
    nominal = plan([other]).predicted_s
    assert nominal == pytest.approx(4000 * 0.033, rel=0.1)
    assert plan([other], [replace(done, device_kind="cpu:Another")]).predicted_s == nominal
    wider = BIG.replace(model=MLP(hidden=(400,)))
    assert plan([other], [row(wider, "finished", 1000, train_s=50.0)]).predicted_s == nominal
    assert plan([other], [replace(done, config_json='{"class": "gone.Trial"}')]).predicted_s == nominal


def test_a_gpu_is_predicted_to_be_faster() -> None:
    assert plan(seeded(BIG, 64), device_kind="cuda:NVIDIA H100").predicted_s < plan(seeded(BIG, 64)).predicted_s / 20


def test_the_wall_clock_is_that_of_the_fullest_worker() -> None:
    configs = seeded(BIG, 3)
    one = plan(configs[:1]).predicted_s
    assert plan(configs, workers=1).predicted_wall_s == pytest.approx(3 * one)
    assert plan(configs, workers=2).predicted_wall_s == pytest.approx(2 * one)
    assert plan(configs, workers=8).predicted_wall_s == pytest.approx(one)
    assert plan(configs, workers=8).predicted_s == pytest.approx(3 * one)


def test_what_differs_from_now_is_told() -> None:
    a, b, c, d = seeded(TRIAL, 4)
    rows = [
        row(a, "finished", 1000, device_kind="cuda:NVIDIA H100"),
        row(b, "finished", 1000, source_hash="older", data_fingerprint="other"),
        row(c, "running", 100, device_kind="cuda:NVIDIA H100"),
        row(d, "running", 100, source_hash="older"),  # begins again: nothing of it is used
    ]
    assert plan([a, b, c, d], rows, {c.trial_id: 100}, source_hash=lambda _: "source").notes == (
        "1 cached trial was trained by another version of the components' source; --rerun-changed deletes such rows "
        "and trains again",
        f"1 cached trial was trained on cuda:NVIDIA H100, not on {CPU}",
        "1 cached trial was trained on other rows of data",
        f"1 continued trial was trained on cuda:NVIDIA H100, not on {CPU}",
    )
    assert plan([b], [replace(rows[1], data_fingerprint=b.data_fingerprint())]).notes == ()


def test_trials_of_changed_components_are_run_again_if_so_asked() -> None:
    made, known, failed, ours = seeded(TRIAL, 4)
    rows = [
        row(made, "finished", 1000, source_hash="older"),
        row(known, "running", 500, source_hash="older", provenance_json='{"components":{"MLP":"1","AdamW":"0"}}'),
        row(failed, "failed", 100, source_hash="older", error="no"),
        row(ours, "finished", 1000),
    ]
    asked: dict[str, Any] = {
        "source_hash": lambda _: "source",
        "component_hashes": lambda _: {"MLP": "2", "AdamW": "0", "SGD": "3"},
    }
    steps = {known.trial_id: 500}
    kept = plan([made, known, failed, ours], rows, steps, **asked)
    assert (kept.discarded, kept.failed) == ({}, {failed.trial_id})
    again = "--rerun-changed deletes such rows and trains again"
    assert kept.notes == (
        f"1 cached trial was trained by another version of the components' source; {again}",
        f"1 continued trial was trained by another version of MLP, SGD; {again}",
        f"1 failed trial was trained by another version of the components' source; {again}",
    )
    anew = plan([made, known, failed, ours], rows, steps, rerun_changed=True, cohort_size=3, **asked)
    assert anew.discarded == {
        made.trial_id: "the components' source",
        known.trial_id: "MLP, SGD",
        failed.trial_id: "the components' source",
    }
    assert [(len(cohort.trials), cohort.start_step) for cohort in anew.cohorts] == [(3, 0)]
    assert (anew.cached, anew.notes) == ({ours.trial_id}, ())
    # What failed with another source is not continued with it either.
    assert plan([failed], rows, rerun_failed=True, **asked).discarded.keys() == {failed.trial_id}


def test_data_that_are_not_here_are_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GROKSCAPE_DATA", raising=False)
    held = row(TRIAL, "finished", 1000)
    config = TRIAL.replace(task=MNISTSubset())
    held = replace(held, trial_id=config.trial_id, config_json=canonical_json(config.to_json()))
    (note,) = plan([config], [held]).notes
    assert note.startswith("1 cached trial was trained on data that cannot be compared (GROKSCAPE_DATA is not set")


def loaded(spec: SweepSpec) -> LoadedSpace:
    return LoadedSpace(name="some", doc="A question?\n\nMore.", revision="0", spec=spec, path=Path("some.py"))


ARMS = SweepSpec(
    base=BIG,
    arms=[
        Arm(name="decay", axes={"optimizer.weight_decay": [0, 0.5, 16]}),
        Arm(name="⊥", patch={"gradient": OrthogonalGradient()}),
    ],
    seeds=range(2),
)


def test_the_summary_adds_up_and_is_json() -> None:
    trials = ARMS.trials()
    ids = [trial.config.trial_id for trial in trials]
    configs = [trial.config for trial in trials]
    rows = {
        ids[0]: row(configs[0], "finished", 1000),
        ids[1]: row(configs[1], "running", 100),
        ids[2]: row(configs[2], "failed", 10),
    }
    found = make_plan(trials, rows, {ids[1]: 100}.get, device_kind=CPU, workers=2)
    told = json.loads(json.dumps(summary(found, loaded(ARMS)), allow_nan=False))
    assert {name: told[name] for name in ("planned", "cached", "failed", "continued", "new", "cohorts", "workers")} == {
        "planned": 8,
        "cached": 1,
        "failed": 1,
        "continued": 1,
        "new": 5,
        "cohorts": 6,
        "workers": 2,
    }
    assert told["predicted_s"] == round(found.predicted_s, 1) > told["predicted_wall_s"] > 0
    text = "\n".join(describe(found, loaded(ARMS)))
    for expected in (
        "some: A question?\n",
        "arm      decay: optimizer.weight_decay = 0, 0.5, 16\n",
        "arm      ⊥: one point\n",
        "seeds    0, 1\n",
        "trials   8: 1 in the ledger, 1 to continue, 5 new, 1 failed before",
        "cohorts  6, the largest of 1 trial\n",
        "on 2 workers, if no trial stops early",
    ):
        assert expected in text


def test_the_description_tells_the_size_and_the_horizons_of_the_arms() -> None:
    spec = SweepSpec(
        base=TRIAL,
        arms=[Arm(name="a"), Arm(name="b", patch={"gradient": OrthogonalGradient(), "horizon_steps": 5000})],
    )
    found = make_plan(spec.trials(), {}, lambda trial_id: None, device_kind=CPU, workers=1)
    space = replace(loaded(spec), name="some_full", size="full")
    told = summary(found, space)
    assert (told["sweep"], told["size"]) == ("some_full", "full")
    assert (told["shortest_horizon_steps"], told["horizon_steps"]) == (1000, 5000)
    assert sorted(cohort.trials[0].horizon_steps for cohort in found.cohorts) == [1000, 5000]
    text = "\n".join(describe(found, space))
    assert "  size     full (the other one: --size laptop)\n" in text
    assert "  horizon  1000 to 5000 steps\n" in text
    assert "size" not in "\n".join(describe(found, loaded(spec)))


def test_the_description_of_a_finished_sweep_says_so() -> None:
    trials = ARMS.trials()
    rows = {trial.config.trial_id: row(trial.config, "finished", 1000) for trial in trials}
    found = make_plan(trials, rows, lambda trial_id: None, device_kind=CPU, workers=2)
    text = "\n".join(describe(found, loaded(ARMS)))
    assert "8 in the ledger, 0 to continue, 0 new" in text
    assert "nothing is left to run" in text


def test_an_objective_is_described_by_its_budget() -> None:
    tune = pytest.importorskip("ray.tune")
    spec = SweepSpec(
        base=BIG,
        axes={"optimizer.weight_decay": tune.uniform(0, 4)},
        objective=Objective(budget=10),
        seeds=range(3),
    )
    found = make_plan(spec.trials(), {}, lambda trial_id: None, device_kind=CPU, workers=2)
    told = summary(found, loaded(spec))
    assert (told["planned"], told["suggestions"]) == (30, 10)
    assert told["predicted_s"] == pytest.approx(30 * plan([BIG]).predicted_s, rel=0.01)
    assert "30: 10 suggestions by Optuna" in "\n".join(describe(found, loaded(spec)))
    done = [trial for value in range(10) for trial in spec.suggestion({"optimizer.weight_decay": value / 10})]
    rows = {trial.config.trial_id: row(trial.config, "finished", BIG.horizon_steps) for trial in done}
    finished = make_plan(done, rows, lambda trial_id: None, device_kind=CPU, workers=2)
    assert summary(finished, loaded(spec))["predicted_s"] == 0
    text = "\n".join(describe(finished, loaded(spec)))
    assert "30: 10 suggestions by Optuna, 30 in the ledger" in text
    assert "nothing is left to run" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "under 1 s"),
        (45, "45 s"),
        (120, "2 min"),
        (5999, "1 h 40 min"),
        (12000, "3 h 20 min"),
        (370000, "4 d 6 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rows_with_components_that_are_not_imported_do_not_count_and_a_note_says_so():
    held = row(TRIAL, "finished", 1000)
    probes = [*(probe.to_json() for probe in TRIAL.probes), {"class": "mylab.probes:Own"}]
    held = replace(held, config_json=canonical_json(TRIAL.to_json() | {"probes": probes}))
    made = plan([TRIAL], [held])
    assert [cohort.start_step for cohort in made.cohorts] == [0]
    assert made.notes == (
        "the rows of 1 trial name components of mylab.probes, which is not imported: they start again "
        "(--components mylab.probes imports it)",
    )
