"""What Ray's trainable makes of an error before the training: what one node lacks, another may have."""

from types import SimpleNamespace

import pytest

from trainables.data.mnist import MNISTSubset
from trainables.engine.models import MLP
from trainables.grokking import GrokkingTrial
from trainables.runtime import trainable
from trainables.runtime.job import CohortJob
from trainables.runtime.status import CohortError

JOB = CohortJob(trials=(GrokkingTrial(task=MNISTSubset(), model=MLP(hidden=(4,)), horizon_steps=10),), device="cpu")


@pytest.fixture
def step(monkeypatch):
    """The first step of a job, on a node that Ray calls ``abc``."""
    monkeypatch.setattr(trainable.platform, "node", lambda: "second")
    monkeypatch.setattr(trainable.ray.util, "get_node_ip_address", lambda: "10.0.0.7")
    monkeypatch.setattr(trainable.ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "abc"))

    def first(job):
        one = object.__new__(trainable.CohortTrainable)
        one.config, one._run, one._store, one._provenance = {trainable.JOB: job}, None, None, None
        with pytest.raises(CohortError) as caught:
            one.step()
        return caught.value

    return first


def test_a_node_without_the_data_or_without_a_module(step, monkeypatch, tmp_path):
    monkeypatch.setenv("GROKSCAPE_DATA", str(tmp_path / "sets"))
    no_data = step(JOB.to_text())
    no_module = step(JOB.to_text().replace('"modules": []', '"modules": ["no_such"]'))
    for error in (no_data, no_module):
        assert (error.kind, error.node) == ("lacking", "abc")
        assert error.message.startswith("node second (10.0.0.7): ")
        assert "\n" not in error.message
    assert f"'{tmp_path / 'sets'}': is not a folder" in no_data.message
    assert "module no_such is not importable" in no_module.message


def test_another_error_is_of_the_trials(step):
    error = step("no job")
    assert (error.kind, error.node) == ("error", "")
