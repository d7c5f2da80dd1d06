"""Sweeps as a user runs them, in a process of their own, and their ledgers as two runs can be compared."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.ledger import Ledger

ROOT = Path(__file__).parents[2]
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has what it starts in the background ignore Ctrl-C, and what that starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as nohup has it
MAIN = """
import sys
from pipeline.sweep import main
sys.exit(main(sys.argv[1:]))
"""
WITHOUT_FIGURES = """
from pipeline import command
command._draw = lambda *_: (None, "not in this test")
command._figures_on = lambda _: []
"""
"""Drawing, and loading what draws, take most of the time of a small sweep."""
TIMES_AND_PLACES = ("train_s", "committed_at", "provenance_json", "traceback")

HEAD = '''"""{doc}"""
from ray import tune

from pipeline.spec import Arm, Objective, RunSettings, SweepSpec
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.models import MLP
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.stopping import Stopping
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

BASE = GrokkingTrial(
    task=ModularAddition(p={p}, train_fraction=0.6),
    model=MLP(hidden=({width},)),
    optimizer=AdamW(learning_rate=0.01, weight_decay=1.0),
    horizon_steps={horizon},
)
'''


def write_space(
    folder: Path, sweep: str, *, name: str = "tiny", p: int = 7, width: int = 8, horizon: int = 40, doc: str = "Tiny."
) -> Path:
    """A search-space file; ``sweep`` are the arguments of its ``SweepSpec``, with ``BASE`` to build on."""
    path = folder / f"{name}.py"
    path.write_text(HEAD.format(p=p, width=width, horizon=horizon, doc=doc) + f"SWEEP = SweepSpec({sweep})\n")
    return path


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a user who has nothing configured, and whose cache is warm."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RAY_", "TUNE_", "MLFLOW_", "PYTEST_"))
    }
    cache = os.environ.get("GROKSCAPE_CACHE") or os.path.expanduser("~/.cache/grokscape")
    return kept | {"GROKSCAPE_CACHE": cache, "PYTHONPATH": str(ROOT), "HOME": str(folder)} | more


def run_sweep(
    folder: Path,
    *arguments: str | Path,
    timeout_s: float = 240,
    program: str | None = None,
    figures: bool = False,
    **more: str,
) -> subprocess.CompletedProcess[str]:
    """Run a sweep to its end, in ``folder``."""
    with started_sweep(folder, *arguments, program=program, figures=figures, **more) as process:
        output, errors = process.communicate(timeout=timeout_s)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@contextlib.contextmanager
def started_sweep(
    folder: Path, *arguments: str | Path, program: str | None = None, figures: bool = False, **more: str
) -> Iterator[subprocess.Popen[str]]:
    """A sweep that runs in ``folder``; whatever is left of it ends with the block.

    :param program: what runs instead of ``pipeline.sweep``, as a Python text.
    :param figures: draw them, as a user's sweep does.
    """
    command = ["-m", "pipeline.sweep"]
    if program is not None or not figures:
        command = ["-c", ("" if figures else WITHOUT_FIGURES) + (program or MAIN)]
    process = subprocess.Popen(
        [sys.executable, *command, *map(str, arguments)],
        cwd=folder,
        env=environment(folder, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        left = [process.pid, *descendants(process.pid)] if process.poll() is None else []
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()  # a test that failed has not read them


def descendants(pid: int) -> list[int]:
    """The processes below ``pid``, the nearest first."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    below, front = [], {pid}
    while front:
        front = {child for child, parent in parents.items() if parent in front}
        below += sorted(front)
    return below


def actors(pid: int) -> list[int]:
    """The Ray actors among the descendants of a driver that train a cohort now, or could."""
    pids = []
    for child in descendants(pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"ray::ResourceTrainable"):
                pids.append(child)
    return pids


def alive(pids: Sequence[int]) -> list[int]:
    """Those of the processes that run (a zombie does not)."""
    running = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                running.append(pid)
    return running


def wait_until(happened: Callable[[], Any], *, timeout_s: float, what: str) -> Any:
    """The first true value of ``happened()``."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := happened():
            return value
        time.sleep(0.2)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


def contents(uri: str | Path) -> tuple[dict[str, dict[str, Any]], dict[str, list[Any]]]:
    """A ledger without what is a time or a place: the trial rows by id, and the trajectories by column."""
    ledger = Ledger.open(str(uri))
    rows = {
        trial_id: {name: value for name, value in asdict(row).items() if name not in TIMES_AND_PLACES}
        for trial_id, row in ledger.trials().items()
    }
    # By their text, since NaN (measured and not a number) is not equal to itself.
    table = {name: [repr(value) for value in values] for name, values in ledger.trajectories().to_pydict().items()}
    return rows, table
