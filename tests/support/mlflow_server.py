"""A real MLflow tracking server for the tests, on a free loopback port; and all that an experiment shows."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

START_S = 120


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class MlflowServer:
    """Started by :meth:`start`; :meth:`kill` is SIGKILL to all its processes, after which it may start again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri"]
        command += [f"sqlite:///{self._folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        command += ["--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ | quiet, cwd=self._folder, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log_text = (self._folder / "server.log").read_text()[-2000:]
                    raise RuntimeError(f"the MLflow server did not start: {log_text}") from None
                time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL, to the server and its workers; nothing to do when it does not run."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def snapshot(uri: str, sweep: str) -> dict[str, Any]:
    """Everything that an experiment shows, by trial id (the sweep's own run under ``""``), without the run ids.

    :raises AssertionError: when a trial has two runs, or a metric two values for one step and time.
    """
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(sweep)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = {run.info.run_id for run in runs if run.data.tags["grokscape.kind"] == "sweep"}
    found: dict[str, Any] = {}
    for run in runs:
        tags = dict(run.data.tags)
        trial_id = tags.get("grokscape.trial_id", "")
        assert trial_id not in found
        # The links of the sweep's own run name it.
        place = f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}/"
        tags["mlflow.note.content"] = tags.get("mlflow.note.content", "").replace(place, "")
        if trial_id:
            assert {tags.pop("mlflow.parentRunId")} == parents
            synced = json.loads(tags.pop("grokscape.synced"))
            tags["synced to"] = f"{synced['step']} {synced['rows']}"
        histories = {}
        for key in run.data.metrics:
            points = [(m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run.info.run_id, key)]
            assert len({point[:2] for point in points}) == len(points)
            histories[key] = sorted(points)
        found[trial_id] = {
            "tags": tags,
            "params": run.data.params,
            "metrics": histories,
            "latest": {key: repr(value) for key, value in run.data.metrics.items()},
            "info": (run.info.run_name, run.info.status, run.info.start_time, run.info.end_time),
            "files": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
        }
    return found
