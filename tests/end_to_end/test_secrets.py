"""Secrets that a user has around do not get into anything that a sweep writes or prints."""

import json
import shlex
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from pyarrow import fs

from tests.support.planted_secrets import ENVIRONMENT, FAULTY, SECRETS, QuotingServer, checkout, leaks
from tests.support.sweep_runs import run_sweep, write_space

SPACE = 'base=BASE, axes={"optimizer.weight_decay": [0, 1]}, seeds=range(1)'
COMMAND = ("--local",)
"""How the sweeps run."""

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def surroundings(tmp_path, code):
    """The environment with the secrets; every temporary file goes below the test's own folder."""
    (tmp_path / "tmp").mkdir()
    return ENVIRONMENT | {"PYTHONPATH": str(code), "TMPDIR": str(tmp_path / "tmp")}


@pytest.fixture
def tracking():
    server = QuotingServer()
    yield server
    server.stop()


def test_a_sweep_that_succeeds(tmp_path, surroundings, server, tracking):
    """The ledger and MLflow are servers, whose addresses have passwords; MLflow fails, and quotes its in the error."""
    space = write_space(tmp_path, SPACE)
    password = quote(SECRETS["address of the ledger"], safe="")
    address = server.uri("ledger").replace("key:secret@", f"KEY:{password}@")
    done = run_sweep(
        tmp_path,
        *(space, *COMMAND, "--ledger", address, "--mlflow-uri", tracking.uri, "--json"),
        figures=True,
        **surroundings,
    )
    assert done.returncode == 0, done.stderr
    assert leaks([tmp_path, fs.FileSystem.from_uri(address)], {"output": done.stdout, "errors": done.stderr}) == []
    command = json.loads(done.stdout)["mlflow_command"]
    shown = f"http://127.0.0.1:{tracking.port}"
    assert shlex.split(command, comments=True)[-4:] == ["--ledger", "s3://bucket/ledger", "--mlflow-uri", shown]
    assert "# add the user, password and query of " in command


def test_a_sweep_that_fails(tmp_path, surroundings):
    """Every trial raises an error that quotes the environment; the ledger, MLflow and the screen repeat the error."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    space = write_space(tmp_path, f"{SPACE.replace('BASE', 'BASE.replace(loss=Faulty())')}")
    space.write_text(space.read_text().replace("from ray import tune\n", "from faulty import Faulty\n"))
    done = run_sweep(tmp_path, space, *COMMAND, figures=True, **surroundings)
    assert done.returncode == 1, done.stderr
    assert "ValueError: no connection to postgresql://127.0.0.1:9/lab with" in done.stdout
    (tmp_path / "faulty.py").unlink()
    assert leaks([tmp_path], {"output": done.stdout, "errors": done.stderr}) == []
    client = MlflowClient(f"sqlite:///{tmp_path}/results/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert {"no connection" in run.data.tags.get("grokscape.error", "") for run in runs} == {False, True}
