"""Checkpoints that a cohort continues from, and those that it refuses: moved, damaged, hostile, of other arithmetic."""

import io
import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.cohort_runs import BASE, Memory, finish, seeded, start
from trainables.engine.optimizers import AdamW
from trainables.runtime import cohort_run as lockstep
from trainables.runtime.rows import Checkpoint
from trainables.runtime.status import CohortError, StaleCheckpointError


@pytest.fixture(autouse=True)
def _commits_cost_nothing(monkeypatch):
    """So that ``checkpoint_every_s=0`` commits at every measurement."""
    monkeypatch.setattr(lockstep, "COMMIT_SHARE", 0)


def test_checkpoints_that_moved_are_refused():
    writer, trials = Memory(), seeded(BASE, 2)
    finish(trials[:1], writer)
    with pytest.raises(StaleCheckpointError, match="checkpoints at steps 40, None: a cohort continues from one step"):
        start(trials, writer, start_step=40)


class Payload:
    """What a malicious checkpoint unpickles to: a file of the attacker's."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :]


def bad_checkpoints(tmp_path, good, other):
    """A checkpoint's data, as nobody should continue from, by what is wrong with it."""
    content = torch.load(io.BytesIO(good), weights_only=True)
    weights = next(iter(content["cohort"]["parameters"].values())).numpy().tobytes()
    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 10**6)
    return {
        "empty": b"",
        "foreign": b"weights",
        "truncated": good[:-30],
        "without its middle": good[:900] + good[1800:],
        "a flipped bit of a weight": flipped(good, good.index(weights) + 5),
        "a pickle": pickle.dumps(Payload(tmp_path / "ran")),
        "a pickle in an archive": saved(Payload(tmp_path / "ran")),
        "a pickle in its place": saved({**content, "steps": Payload(tmp_path / "ran")}),
        "torch's old format": saved(content, _use_new_zipfile_serialization=False),
        "a bomb": compressed.getvalue(),
        "of another trial": other,
        "of another trial that does not say": saved({**content, "cohort": {**content["cohort"], "parameters": {}}}),
        "a list": saved([1, 2]),
        "no steps": saved({name: value for name, value in content.items() if name != "steps"}),
        "steps out of order": saved({**content, "steps": content["steps"][::-1]}),
        "steps of text": saved({**content, "steps": list(map(str, content["steps"]))}),
        "a short history": saved({**content, "history": {name: [] for name in content["history"]}}),
        "rows of text": saved({**content, "pending": [{"step": 0, "train_loss": "a"}]}),
        "rows of other steps": saved({**content, "pending": [{"step": 10**9, "train_loss": 1.0}]}),
        "another step": saved({**content, "cohort": {**content["cohort"], "step": 3}}),
    }


def test_a_checkpoint_that_cannot_be_used(tmp_path):
    """It runs no code, and it is deleted and said, so that the next plan begins without it."""
    reference, kept, other = Memory(), Memory(), Memory()
    finish([BASE], reference, checkpoint_every_s=0.0)
    finish([BASE.replace(horizon_steps=20)], kept)
    finish(seeded(BASE.replace(horizon_steps=20), 2)[1:], other)
    good = kept.checkpoint(BASE.trial_id)
    cases = bad_checkpoints(tmp_path, good.data, next(iter(other.checkpoints.values())).data)
    for name, data in cases.items():
        store = Memory()
        store.checkpoints[BASE.trial_id] = Checkpoint(trial_id=BASE.trial_id, step=20, data=data)
        with pytest.raises(StaleCheckpointError, match=r"at step 20 cannot be used and was deleted: .+") as raised:
            start([BASE], store, start_step=20)
        assert (store.checkpoints, CohortError.of(raised.value).kind) == ({}, "stale"), name
    assert not (tmp_path / "ran").exists()
    store = Memory()
    store.checkpoints[BASE.trial_id] = good
    finish([BASE], store, start_step=20)  # the good one does
    assert store.commits[-1][0][0].last_step == reference.commits[-1][0][0].last_step


def test_bad_checkpoints_of_a_cohort():
    """All go at once; the others keep theirs."""
    writer, trials = Memory(), seeded(BASE.replace(horizon_steps=20), 3)
    finish(trials, writer)
    for trial in trials[1:]:
        writer.checkpoints[trial.trial_id] = replace(writer.checkpoints[trial.trial_id], data=b"weights")
    with pytest.raises(StaleCheckpointError, match=rf"of trial {trials[1].trial_id} at step 20 \(and 1 more\) cannot"):
        start(seeded(BASE, 3), writer, start_step=20)
    assert writer.checkpoints.keys() == {trials[0].trial_id}


def test_a_checkpoint_of_other_arithmetic_goes_on_and_says_so(monkeypatch):
    """Made while subnormals were kept, it goes on with them flushed; and one that does not say, likewise."""
    trial = BASE.replace(optimizer=AdamW(learning_rate=0.05, weight_decay=16.0), horizon_steps=400)
    kept, silent, undisturbed = Memory(), Memory(), Memory()
    finish([trial], undisturbed)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "set_flush_denormal", lambda mode: False)
        start([trial], kept, checkpoint_every_s=0.0, deadline=0.0).run(0.0)
        finish([trial.replace(horizon_steps=200)], kept)
    (step,) = {checkpoint.step for checkpoint in kept.checkpoints.values()}
    assert step == 200
    past = torch.load(io.BytesIO(kept.checkpoints[trial.trial_id].data))
    buffer = io.BytesIO()
    torch.save({name: value for name, value in past.items() if name != "arithmetic"}, buffer)
    silent.checkpoints[trial.trial_id] = Checkpoint(trial_id=trial.trial_id, step=200, data=buffer.getvalue())
    silent.commits = list(kept.commits)
    for writer, before, words in (
        (kept, {"from_step": 0, "subnormals": "kept"}, "subnormals kept"),
        (silent, {"from_step": 0}, "what its checkpoint does not say"),
    ):
        statuses = start([trial], writer, start_step=200).run(60.0)
        assert statuses[0].notes == (f"continues at step 200 with subnormals flushed; before, with {words}",)
        provenance = json.loads(writer.row(trial).provenance_json)
        assert provenance == {"place": "here", "arithmetic": [before, {"from_step": 200, "subnormals": "flushed"}]}
        end, other = (each.rows(trial)[400] for each in (writer, undisturbed))
        assert float(end["train_accuracy"]) == pytest.approx(float(other["train_accuracy"]), abs=0.05)
    assert json.loads(undisturbed.row(trial).provenance_json)["arithmetic"] == [
        {"from_step": 0, "subnormals": "flushed"}
    ]
