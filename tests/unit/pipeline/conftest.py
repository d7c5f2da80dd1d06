"""A made-up sweep, and an MLflow database to sync it to."""

from pathlib import Path

import pytest

from pipeline.ledger import Ledger
from pipeline.tracking.client import connect
from tests.support.mlflow_runs import copied
from tests.support.sample_sweep import SampleSweep


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    connect(f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@pytest.fixture
def uri(empty_database: Path, tmp_path: Path) -> str:
    return copied(empty_database, tmp_path / "mlflow.db")


@pytest.fixture
def sample(tmp_path: Path) -> SampleSweep:
    return SampleSweep(Ledger.open(str(tmp_path / "ledger"), create=True))
