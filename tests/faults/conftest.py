"""What the tests that kill a sweep compare with: the same sweep when nobody does."""

import pytest

from tests.support.long_sweep import FLAGS, write_long_space
from tests.support.sweep_runs import run_sweep


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The ledger of that sweep, run from beginning to end by the same command."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_long_space(folder)
    done = run_sweep(folder, *FLAGS)
    assert done.returncode == 0, done.stderr
    return str(folder / "results/ledger")
