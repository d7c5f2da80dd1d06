"""A sweep that lasts long enough to be killed between its checkpoints, which come every two seconds here."""

from pathlib import Path

from pipeline.ledger import Ledger, LedgerError
from tests.support.sweep_runs import wait_until, write_space

FLAGS = ("tiny.py", "--mlflow-uri", "none", "--cohort-size", "1", "--workers", "2", "--checkpoint-every-s", "2")
SPACE = "base=BASE.replace(stopping=Stopping(on_success=False, on_frozen=False)), seeds=range(2)"


def write_long_space(folder: Path) -> None:
    """Two trials of several seconds each."""
    write_space(folder, SPACE, p=11, width=16, horizon=14_000)


def in_mid_sweep(folder: Path) -> dict[str, int]:
    """Wait until a trial that still runs has a checkpoint; the steps of the checkpoints."""

    def checkpoints() -> dict[str, int]:
        try:
            ledger = Ledger.open(str(folder / "results/ledger"))
            running = [trial_id for trial_id, row in ledger.trials().items() if row.state == "running"]
            return ledger.checkpoint_steps(running) if running else {}
        except LedgerError:
            return {}  # not made yet

    return wait_until(checkpoints, timeout_s=180, what="a checkpoint of a running trial")
