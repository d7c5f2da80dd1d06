"""A whole sweep beside the plain way: wd_vs_orthograd, and a loop over processes that train its configurations.

The plain way is ``plain_trial.py`` once a configuration, to the full horizon, with the same measurements.  Both sides
have one thread, and are charged with the CPU time of their processes, start and figures included; ours runs by
``pipeline.sweep --local``.  The rest says where the ratio comes from: stopping early, subnormal numbers (the arm with
decay 16, whose plain loop runs again with ``torch.set_flush_denormal``), a step, a measurement.

One seed of each arm takes 20 minutes, ``--seeds 5``, the sweep's own number, more than an hour and a half; ``--quick``
runs a tiny sweep of the same form.  At the end our trials are continued to their full horizons, and the outcomes with
and without stopping are compared: none may differ.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from analysis.data.source import open_sweep
from analysis.data.sweep import Trial
from pipeline.spec.space_file import load_space
from tests.benchmarks.form import Result, main, ratios
from trainables.engine.events import StopReason
from trainables.engine.gradients import PlainGradient
from trainables.grokking import GrokkingTrial

HERE, ROOT = Path(__file__).parent, Path(__file__).resolve().parents[2]
SUBNORMAL_DECAY = 16
WHOLE = """
from dataclasses import replace
from search_spaces.wd_vs_orthograd import SWEEP as FULL

SWEEP = replace(FULL, seeds=range({seeds}))
"""
TINY = """
from dataclasses import replace
from search_spaces.wd_vs_orthograd import SWEEP as FULL
from trainables import MLP, ModularAddition

SWEEP = replace(
    FULL,
    base=FULL.base.replace(
        task=ModularAddition(p=23, train_fraction=0.9),
        model=MLP(hidden=(64, 64)),
        optimizer=FULL.base.optimizer.replace(learning_rate=0.02),
        horizon_steps=400,
    ),
    seeds=range(1),
)
"""
WITHOUT_STOPPING = """
from dataclasses import replace
from trainables.engine.stopping import Stopping
import {name}

SWEEP = replace({name}.SWEEP, base={name}.SWEEP.base.replace(stopping=Stopping(on_success=False, on_frozen=False)))
"""


def measure(quick: bool, seeds: int = 1) -> Iterator[Result]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = TINY if quick else WHOLE.format(seeds=seeds)
        (folder / "stopped.py").write_text(f'"""The sweep that is measured."""\n{source}')
        trials = [planned.config for planned in load_space(folder / "stopped.py").spec.trials()]
        ours_s = sweep_cpu_s(folder, "stopped")
        plain = {trial.trial_id: plain_run(trial, flush=False) for trial in trials}
        flushed = {trial.trial_id: plain_run(trial, flush=True) for trial in trials if subnormal(trial)}
        where = "tiny" if quick else f"{len(trials)} configurations"
        yield from split_up(where, folder, trials, ours_s, plain, flushed)
        yield from parts(trials[len(trials) // 2], rounds=5 if quick else 15)
        yield differing(folder)


def split_up(
    where: str,
    folder: Path,
    trials: list[GrokkingTrial],
    ours_s: float,
    plain: Mapping[str, dict[str, float]],
    flushed: Mapping[str, dict[str, float]],
) -> Iterator[Result]:
    """The ratio of the whole, and what stopping and subnormal numbers contribute."""
    plain_s = sum(run["cpu_s"] for run in plain.values())
    by_id = {trial.trial_id: trial for trial in open_sweep("stopped", str(folder / "ledger")).trials}
    steps, full = sum(trial.last_step for trial in by_id.values()), sum(trial.horizon_steps for trial in trials)
    yield Result(
        name=f"{where}: the whole sweep",
        value=ours_s / plain_s,
        what="CPU time, of the plain way's",
        goal=None if where == "tiny" else 0.25,
        raw={
            "ours_s": ours_s,
            "plain_s": plain_s,
            "plain_steps_s": sum(run["steps_s"] for run in plain.values()),
            "plain_measuring_s": sum(run["measuring_s"] for run in plain.values()),
        },
    )
    yield Result(
        name=f"{where}: stopping early",
        value=steps / full,
        what="trial-steps, of those to the full horizons",
        raw={"steps": steps, "full_steps": full},
    )
    saved_s = sum(plain[trial_id]["cpu_s"] - run["cpu_s"] for trial_id, run in flushed.items())
    yield Result(
        name=f"{where}: without subnormal numbers at decay {SUBNORMAL_DECAY}",
        value=(plain_s - saved_s) / plain_s,
        what="CPU time of the plain way with that arm flushed to zero, of its own without",
        raw={
            "arm_s": sum(plain[trial_id]["cpu_s"] for trial_id in flushed),
            "arm_flushed_s": sum(run["cpu_s"] for run in flushed.values()),
        },
    )


def parts(trial: GrokkingTrial, rounds: int) -> Iterator[Result]:
    """A step and a measurement of ours beside the plain ones, at the start of one trial."""
    from tests.benchmarks import plain_trial

    few = 6
    cohort = GrokkingTrial.build([trial], "cpu")
    settings = settings_of(trial, flush=False) | {"horizon_steps": few - 1}
    steps: dict[str, list[float]] = {"ours": [], "plain": []}
    measurements: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(rounds + 1):
        run = plain_trial.train(settings | {"measured_steps": [0, few - 1]})
        steps["plain"].append(run["steps_s"] / few)
        measurements["plain"].append(run["measuring_s"] / run["measurements"])
        steps["ours"].append(cpu_s(lambda: cohort.advance(few)) / few)
        both = cpu_s(lambda: [(cohort.measure(), cohort.advance(1)) for _ in range(few)]) / few
        measurements["ours"].append(both - steps["ours"][-1])
    for name, times in (("a step", steps), ("a measurement", measurements)):
        yield Result.of(
            f"p = {trial.task.p}: {name}",
            ratios(times["ours"][1:], times["plain"][1:]),
            what="CPU time of what both have, of the plain way's",
            raw={f"{who}_ms": 1e3 * sorted(values)[len(values) // 2] for who, values in times.items()},
        )


def cpu_s(job: Callable[[], object]) -> float:
    start = time.process_time()
    job()
    return time.process_time() - start


# --- the plain way ------------------------------------------------------------------------------------------------


def settings_of(trial: GrokkingTrial, *, flush: bool) -> dict[str, Any]:
    """What ``plain_trial.py`` has to know of a configuration."""
    optimizer = trial.optimizer
    return {
        "p": trial.task.p,
        "train_fraction": trial.task.train_fraction,
        "hidden": trial.model.hidden,
        "learning_rate": optimizer.learning_rate,
        "betas": optimizer.betas,
        "eps": optimizer.eps,
        "weight_decay": optimizer.weight_decay,
        "orthograd": not isinstance(trial.gradient, PlainGradient),
        "horizon_steps": trial.horizon_steps,
        "measured_steps": trial.measuring.steps(trial.horizon_steps).tolist(),
        "seed": trial.seeds.init,
        "flush": flush,
    }


def plain_run(trial: GrokkingTrial, *, flush: bool) -> dict[str, float]:
    """One configuration in a process of its own: what it reports, and its CPU time."""
    command = [sys.executable, str(HERE / "plain_trial.py")]
    before = children_s()
    done = subprocess.run(
        command,
        input=json.dumps(settings_of(trial, flush=flush)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment(),
    )
    return json.loads(done.stdout) | {"cpu_s": children_s() - before}


def subnormal(trial: GrokkingTrial) -> bool:
    return trial.optimizer.weight_decay == SUBNORMAL_DECAY


# --- ours ---------------------------------------------------------------------------------------------------------


def sweep_cpu_s(folder: Path, space: str) -> float:
    """CPU seconds of one ``pipeline.sweep``, into the folder's ledger."""
    command = [sys.executable, "-m", "pipeline.sweep", f"{space}.py", "--local", "--device", "cpu", "--json"]
    command += ["--ledger", "ledger", "--mlflow-uri", "none", "--out", "figures"]
    before = children_s()
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False, env=environment(folder))
    if done.returncode:
        raise SystemExit(f"{space}.py failed: {done.stdout}")
    return children_s() - before


def environment(*paths: Path) -> dict[str, str]:
    """One thread for every library."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return os.environ | threads | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *paths)))}


def children_s() -> float:
    """CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- with and without stopping ------------------------------------------------------------------------------------


def differing(folder: Path) -> Result:
    """How many outcomes change when nothing stops on success: events or phases, by the horizon.

    The ledger is the same, so that trials are continued where they stopped.
    """
    before = open_sweep("stopped", str(folder / "ledger")).trials
    stopped = {trial.trial_id: told(trial) for trial in before}
    (folder / "unstopped.py").write_text(
        f'"""The same to the full horizons."""{WITHOUT_STOPPING.format(name="stopped")}'
    )
    sweep_cpu_s(folder, "unstopped")
    full = open_sweep("unstopped", str(folder / "ledger"))
    changed = [trial.trial_id for trial in full.trials if told(trial) != stopped[trial.trial_id]]
    for trial_id in changed:
        print(f"{trial_id}: {stopped[trial_id]} with stopping", file=sys.stderr)
    return Result(
        name=f"outcomes that stopping changes, of {len(full.trials)}",
        value=len(changed),
        what="with stopping and to the full horizons",
        goal=0,
        raw={
            "continued": sum(trial.stop_reason == StopReason.SUCCESS for trial in before),
            "relapsed": sum(any(event.relapse_steps > 0 for event in trial.outcome.events) for trial in full.trials),
        },
    )


def told(trial: Trial) -> tuple[Any, ...]:
    """What the diagram takes from a trial: each event's kind and interval, and the phase.

    A relapse after an event has held is no part of it: a trial that stops on success does not look for one.
    """
    events = [
        (event.name, event.threshold, event.kind, event.low_steps, event.high_steps) for event in trial.outcome.events
    ]
    return (*events, trial.outcome.phase(trial.phases))


if __name__ == "__main__":
    main(measure, seeds=1)
