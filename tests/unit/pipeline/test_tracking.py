"""The projection of a ledger into MLflow: what a run shows, what a sync writes, and the limits that it keeps."""

import dataclasses
import json
import math
import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from mlflow import MlflowClient
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

from analysis.data.source import open_sweep
from pipeline.ledger import Ledger, SweepRow
from pipeline.tracking import content as tracking_content
from pipeline.tracking import mirror, page, sync
from tests.support.mlflow_runs import all_runs, copied, curve, outcome_of, trial_runs, whole
from tests.support.sample_sweep import COLUMNS, SampleSweep
from trainables.engine.config import canonical_json
from trainables.engine.events import ACCURACY_EVENTS, outcome
from trainables.engine.trial import Measuring
from trainables.grokking import GrokkingTrial
from trainables.runtime.rows import TrialState

TRIAL_KINDS = (GrokkingTrial,)

# MLflow's own use of SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


class TestWhatARunShows:
    def test_outcome_metrics_equal_the_ledgers_outcome(self, sample: SampleSweep, uri: str) -> None:
        sample.commit_all()
        sync(sample.ledger, "sample", uri)
        table = sample.ledger.trajectories()
        for trial_id, run in trial_runs(uri).items():
            rows = table.filter(pa.compute.equal(table["trial_id"].cast(pa.string()), trial_id))
            columns = {name: rows[name].to_numpy() for name in ("train_accuracy", "test_accuracy")}
            expected = outcome(rows["step"].to_numpy(), columns, ACCURACY_EVENTS)
            assert outcome_of(run).to_metrics() == expected.to_metrics()
            assert expected.event("t_gen").occurred
            assert run.data.metrics["last_step"] == 1500

    def test_an_event_of_an_unknown_class_is_skipped(self, sample: SampleSweep, uri: str) -> None:
        config = json.loads(sample.row(0, 1500, "finished").config_json)
        config["events"] = [{"class": "no_such_module:Rule", "name": "t"}, config["events"][1] | {"unknown": 1}]
        sample.commit(0, config_json=json.dumps(config | {"events": [*config["events"], ACCURACY_EVENTS[0].to_json()]}))
        assert sync(sample.ledger, "sample", uri).created == 1
        metrics = trial_runs(uri)[sample.trial_ids[0]].data.metrics
        assert {name for name in metrics if name.endswith("_kind")} == {"zz.t_mem_90_kind", "zz.t_mem_99_kind"}

    def test_parameters_and_tags(self, sample: SampleSweep, uri: str) -> None:
        sample.commit(0)
        sync(sample.ledger, "sample", uri)
        run = trial_runs(uri)[sample.trial_ids[0]]
        assert run.data.params == {
            "class": "GrokkingTrial",
            "seeds": "Seeds",
            "seeds.split": "0",
            "seeds.init": "0",
            "seeds.order": "0",
            "task": "ModularAddition",
            "task.p": "113",
            "task.train_fraction": "0.4",
            "optimizer": "AdamW",
            "optimizer.weight_decay": "0.5",
            "optimizer.betas": "[0.9,0.99]",
        }
        tags = run.data.tags
        assert json.loads(tags["grokscape.coordinates"]) == {"arm": "wd0", "seed": 0}
        assert tags["grokscape.state"] == "finished"
        assert tags["grokscape.horizon_steps"] == "1500"
        assert tags["grokscape.measuring.ratio"] == "1.05"
        assert tags["grokscape.provenance.versions.torch"] == "2.13"
        assert tags["mlflow.source.git.commit"] == "c0ffee"
        assert "grokscape.stop_reason" not in tags
        assert run.info.run_name == "wd0, seed=0"
        assert run.info.status == "FINISHED"
        assert run.info.end_time - run.info.start_time == 15_000  # train_s

    def test_curves_are_thinned(self, sample: SampleSweep, uri: str) -> None:
        sample.commit(0)
        sync(sample.ledger, "sample", uri)
        run = trial_runs(uri)[sample.trial_ids[0]]
        measured = Measuring().steps(1500)
        expected = sample.curves(0, measured)
        for column in COLUMNS:
            points = curve(uri, run, column)
            assert set(points) <= set(measured.tolist())
            assert 50 < len(points) <= 100
            assert points.keys() >= {*range(21), 1500}
            by_step = dict(zip(measured.tolist(), expected[column].tolist(), strict=True))
            assert all(value == by_step[step] or math.isnan(value) for step, value in points.items())
        alignment = curve(uri, run, "alignment_update")
        assert [step for step, value in alignment.items() if math.isnan(value)] == [0]

    def test_infinities_and_unmeasured_values(self, sample: SampleSweep, uri: str) -> None:
        steps = np.arange(4)
        curves = {"train_accuracy": [0.0] * 4, "test_accuracy": [0.0] * 4}
        curves |= {"train_loss": [1.0, np.inf, -np.inf, 2.0], "margin_q10": [None, 1.0, None, None]}
        row = sample.row(0, 3, TrialState.STOPPED, stop_reason="diverged")
        sample.ledger.commit([row], {"trial_id": [row.trial_id] * 4, "step": steps, **curves})
        sync(sample.ledger, "sample", uri)
        run = trial_runs(uri)[row.trial_id]
        points = curve(uri, run, "train_loss")
        assert [points[0], points[3]] == [1.0, 2.0]
        assert math.isnan(points[1])
        assert math.isnan(points[2])
        assert curve(uri, run, "margin_q10") == {1: 1.0}
        assert outcome_of(run).event("t_gen").kind == "diverged"

    def test_columns_of_one_tensor_have_their_last_value_only(self, sample: SampleSweep, uri: str) -> None:
        """However many there are, a run takes one value of each, at the measurement that had it."""
        steps = Measuring().steps(1500)
        detail = {f"fourier_output.power_{k}": [float(k + n) for n in range(len(steps))] for k in range(1, 57)}
        detail["norm.weight_2"] = [0.5] * (len(steps) - 1) + [None]  # type: ignore[list-item]
        row = sample.row(0, 1500, "finished")
        rows = {"trial_id": [row.trial_id] * len(steps), "step": steps, **sample.curves(0, steps), **detail}
        sample.ledger.commit([row], rows)
        sync(sample.ledger, "sample", uri)
        run = trial_runs(uri)[row.trial_id]
        assert curve(uri, run, "fourier_output.power_7") == {1500: 7.0 + len(steps) - 1}
        assert curve(uri, run, "norm.weight_2") == {int(steps[-2]): 0.5}
        assert len(curve(uri, run, "test_loss")) > 50
        assert set(detail) <= set(run.data.metrics)

    def test_a_failure_before_the_first_measurement(self, sample: SampleSweep, uri: str) -> None:
        row = sample.row(0, 0, TrialState.FAILED, error="no such file", error_kind="error")
        sample.ledger.commit([row], {"trial_id": [], "step": []})
        sync(sample.ledger, "sample", uri)
        run = trial_runs(uri)[row.trial_id]
        assert run.info.status == "FAILED"
        assert run.data.tags["grokscape.error"] == "no such file"
        assert run.data.metrics == {"seed": 0.0, "last_step": 0.0}
        assert open_sweep("sample", uri).trials[0].read_outcome is None

    def test_numbers_and_words_that_a_server_filters_by(self, sample: SampleSweep, uri: str) -> None:
        """A numeric axis is a metric, which ``>`` takes; what came of an event and the phase are words."""
        for coordinates, decay in zip(sample.coordinates, (0, 0.5, 1.5, 2), strict=True):
            coordinates |= {"optimizer.weight_decay": decay, "task.name": "1", "flag": True}
        sample.record()
        sample.commit_all()
        sync(sample.ledger, "sample", uri)
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("sample").experiment_id

        def names(where: str) -> list[str]:
            return sorted(run.info.run_name for run in client.search_runs([experiment], where))

        last = "flag=true, weight_decay=2, name=1, seed=1"
        assert names('metrics."optimizer.weight_decay" > 1.5 and tags."event.t_gen" = \'event\'') == [f"wd1, {last}"]
        assert len(names("tags.`grokscape.phase` = 'grokking' and metrics.t_gen < 350")) == 2
        assert len(names("tags.`grokscape.cell` LIKE '%weight_decay=1.5,%'")) == 1
        metrics = trial_runs(uri)[sample.trial_ids[0]].data.metrics
        assert metrics.items() >= {"t_mem": 49.0, "t_gen": 299.0, "came.t_gen": 1.0, "seed": 0.0}.items()
        assert not metrics.keys() & {"task.name", "flag"}
        details = [key for key in metrics if "_9" in key]
        assert len(details) > 20
        assert min(details) > max(key for key in metrics if key not in details)

    def test_a_failure_is_a_word_too(self, sample: SampleSweep, uri: str) -> None:
        sample.commit(0, 17, TrialState.STOPPED, stop_reason="diverged")
        sync(sample.ledger, "sample", uri)
        run = trial_runs(uri)[sample.trial_ids[0]]
        assert (run.data.tags["event.t_gen"], run.data.metrics["came.t_gen"]) == ("diverged", 0.0)
        assert "t_gen" not in run.data.metrics

    def test_the_sweeps_own_run(self, sample: SampleSweep, uri: str, tmp_path: Path) -> None:
        sample.commit_all()
        figure, cells = tmp_path / "diagram.png", tmp_path / "cells.csv"
        figure.write_bytes(b"a picture")
        cells.write_text("cell,optimizer.weight_decay,median\nwd0,0.5,\n")
        report = sync(sample.ledger, "sample", uri, figures=[figure, cells], answer="all grok\n" * 2000)
        [parent] = [run for run in all_runs(uri) if run.data.tags["grokscape.kind"] == "sweep"]
        note = parent.data.tags["mlflow.note.content"]
        page = f"#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}/artifacts"
        links = f"[cells.json]({page}/cells.json) · [diagram.png]({page}/diagram.png)"
        assert note.startswith(f"Does the sample grok?\n\n{links}\n\n```text\nall grok\n")
        assert note.endswith("all grok\n... the rest is in cells.csv\n```")
        assert json.loads(parent.data.tags["grokscape.axes"]) == {"arm": ["wd0", "wd1"]}
        assert parent.data.tags["grokscape.planned_trials"] == "4"
        assert parent.info.status == "FINISHED"
        assert parent.info.start_time == 1767323045000
        assert {run.data.tags["mlflow.parentRunId"] for run in trial_runs(uri).values()} == {parent.info.run_id}
        files = Path(urlsplit(parent.info.artifact_uri).path)
        assert files.is_relative_to(tmp_path / "mlartifacts")
        assert (files / "diagram.png").read_bytes() == b"a picture"
        assert parent.data.tags["mlflow.loggedArtifacts"] == '[{"path": "cells.json", "type": "table"}]'
        assert json.loads((files / "cells.json").read_text()) == {
            "columns": ["cell", "optimizer/weight_decay", "median"],
            "data": [["wd0", 0.5, None]],
        }
        sync(sample.ledger, "sample", uri)  # knows neither figures nor an answer
        assert MlflowClient(uri).get_run(parent.info.run_id).data.tags == parent.data.tags
        assert tracking_content.read_sheet(parent.data.tags, "sample") == sample.ledger.sweep("sample")
        assert (report.created, report.updated, report.unchanged) == (4, 0, 0)


class TestPage:
    """The saved views that the page reads from an experiment's tags; test_mlflow_server.py looks at them."""

    def test_an_experiment_says_its_kind_its_question_and_its_views(self, sample: SampleSweep, uri: str) -> None:
        for number, coordinates in enumerate(sample.coordinates):
            coordinates |= {"optimizer.weight_decay": number, "fixed": 1}
        sample.record()
        client = MlflowClient(uri)
        report = sync(sample.ledger, "sample", uri)
        tags = client.get_experiment_by_name("sample").tags
        assert tags["mlflow.experimentKind"] == "custom_model_development"
        assert tags["mlflow.note.content"] == "Does the sample grok?"
        key = re.search(r"viewStateShareKey=([\w-]+)", report.browse)[1]
        envelope = json.loads(tags[f"mlflow.sharedViewState.{key}"])
        assert envelope["name"] == "Trials"
        assert json.loads(envelope["state"])["selectedColumns"] == [
            "metrics.`optimizer.weight_decay`",
            "metrics.`last_step`",
        ]
        # An experiment of an earlier version, or one that somebody changed.
        client.set_experiment_tag(report.browse.split("/")[-2], "mlflow.experimentKind", "genai_development")
        sync(sample.ledger, "sample", uri)
        assert client.get_experiment_by_name("sample").tags == tags

    def test_a_space_with_many_axes_fits_a_tag(self) -> None:
        axes = {f"model.{'long' * 50}{number}": number for number in range(20)}
        row = SweepRow(
            name="wide",
            doc="x" * 9000,
            axes_json=canonical_json({"events": [rule.to_json() for rule in ACCURACY_EVENTS]}),
            trial_ids=("a", "b"),
            coordinates_json=canonical_json([axes, {axis: value + 1 for axis, value in axes.items()}]),
            horizon_steps=10,
            revision="r",
            recorded_at="2026-01-02T03:04:05+00:00",
        )
        tags = page.experiment_tags(row)
        assert len(tags) == 4
        assert all(len(text) <= 5000 for text in tags.values())


def test_protocol_fields() -> None:
    """Named in part, because the trial kinds import torch; here they may."""
    declared = {
        spec.name for kind in TRIAL_KINDS for spec in dataclasses.fields(kind) if spec.metadata.get("protocol", False)
    }
    assert declared == tracking_content.PROTOCOL


class TestIdempotence:
    def test_a_second_sync_writes_nothing(
        self, sample: SampleSweep, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sample.commit_all()
        figure = tmp_path / "diagram.png"
        figure.write_bytes(b"a picture")
        sync(sample.ledger, "sample", uri, figures=[figure])
        written = []
        for name in ("create_run", "log_batch", "update_run", "set_terminated", "log_text", "log_artifact"):
            monkeypatch.setattr(MlflowClient, name, lambda *args, **kwargs: written.append(args))
        report = sync(sample.ledger, "sample", uri, figures=[figure])
        assert written == []
        assert (report.created, report.updated, report.unchanged, report.removed) == (0, 0, 4, 0)

    def test_a_whole_sweep_is_trusted_until_the_ledger_changes(
        self, sample: SampleSweep, uri: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed = []
        runs_of = mirror.runs_of
        monkeypatch.setattr(mirror, "runs_of", lambda *arguments: listed.append(arguments) or runs_of(*arguments))
        sample.commit_all()
        one, *others = sample.trial_ids
        sync(sample.ledger, "sample", uri, trial_ids=others)
        assert sync(sample.ledger, "sample", uri, trust=True).created == 1  # some of them is not the whole
        listed.clear()
        report = sync(sample.ledger, "sample", uri, trust=True)
        assert (report.created, report.updated, report.unchanged, report.removed) == (0, 0, 4, 0)
        assert [where for *_, where in listed] == ["tags.`grokscape.kind` = 'sweep'"]
        gone = trial_runs(uri)[one].info.run_id
        MlflowClient(tracking_uri=uri).delete_run(gone)
        assert sync(sample.ledger, "sample", uri).created == 1
        sample.ledger.commit([dataclasses.replace(sample.ledger.trials([one])[one], last_step=2000)], {})
        assert sync(sample.ledger, "sample", uri, trust=True).updated == 1

    def test_a_changed_figure_is_uploaded_again(self, sample: SampleSweep, uri: str, tmp_path: Path) -> None:
        sample.commit_all()
        figure = tmp_path / "diagram.png"
        for picture in (b"a picture", b"a better one"):
            figure.write_bytes(picture)
            sync(sample.ledger, "sample", uri, figures=[figure])
        [parent] = [run for run in all_runs(uri) if run.data.tags["grokscape.kind"] == "sweep"]
        assert (Path(urlsplit(parent.info.artifact_uri).path) / "diagram.png").read_bytes() == b"a better one"

    def test_syncs_during_a_run_equal_one_at_the_end(
        self, sample: SampleSweep, uri: str, empty_database: Path, tmp_path: Path
    ) -> None:
        for until_step in (17, 290, 301):
            sample.commit(0, until_step)
            sync(sample.ledger, "sample", uri)
            run = trial_runs(uri)[sample.trial_ids[0]]
            assert run.info.status == "RUNNING"
            assert outcome_of(run).event("t_gen").kind == "censored"
        sample.commit(0)
        sync(sample.ledger, "sample", uri)
        followed = trial_runs(uri)[sample.trial_ids[0]]
        assert followed.info.run_id == run.info.run_id

        fresh_uri = copied(empty_database, tmp_path / "fresh.db")
        sync(sample.ledger, "sample", fresh_uri)
        fresh = trial_runs(fresh_uri)[sample.trial_ids[0]]
        assert {column: whole(uri, followed)[column] for column in COLUMNS} == {
            column: whole(fresh_uri, fresh)[column] for column in COLUMNS
        }
        assert repr(sorted(followed.data.metrics.items())) == repr(sorted(fresh.data.metrics.items()))
        assert followed.data.params == fresh.data.params

    def test_an_end_at_the_last_synced_step(self, sample: SampleSweep, uri: str) -> None:
        """Freezing lowers the censoring bound at the same step; the later value must win, not the larger one."""
        steps = np.arange(31)
        curves = {"train_accuracy": np.ones(31), "test_accuracy": np.zeros(31)}
        for state, reason in ((TrialState.RUNNING, None), (TrialState.STOPPED, "frozen")):
            row = sample.row(0, 30, state, stop_reason=reason)
            sample.ledger.commit([row], {"trial_id": [row.trial_id] * 31, "step": steps, **curves})
            sync(sample.ledger, "sample", uri)
            found = outcome_of(trial_runs(uri)[row.trial_id]).event("t_gen")
            expected = outcome(steps, curves, ACCURACY_EVENTS, stop_reason=reason).event("t_gen")
            assert (found.kind, found.low_steps, found.high_steps) == (
                expected.kind,
                expected.low_steps,
                expected.high_steps,
            )

    def test_a_longer_horizon_extends_the_same_run(self, sample: SampleSweep, uri: str) -> None:
        sample.commit(0)
        sync(sample.ledger, "sample", uri)
        before = trial_runs(uri)[sample.trial_ids[0]]
        sample.horizon_steps = 3000
        sample.commit(0)
        report = sync(sample.ledger, "sample", uri)
        after = trial_runs(uri)[sample.trial_ids[0]]
        assert (report.updated, report.created) == (1, 0)
        assert after.info.run_id == before.info.run_id
        assert after.data.metrics["last_step"] == 3000
        assert after.data.tags["grokscape.horizon_steps"] == "3000"
        assert max(curve(uri, after, "test_loss")) == 3000

    def test_another_history_replaces_the_run(self, sample: SampleSweep, uri: str, tmp_path: Path) -> None:
        """The trial was dropped and trained again with other code: nothing of the first may stay."""
        sample.commit(0)
        sync(sample.ledger, "sample", uri)
        before = trial_runs(uri)[sample.trial_ids[0]]
        again = SampleSweep(Ledger.open(str(tmp_path / "again"), create=True))
        row = again.row(0, 1500, "finished", source_hash="other source")
        steps = Measuring().steps(1500)
        curves = again.curves(0, steps) | {"test_accuracy": np.zeros(len(steps))}
        again.ledger.commit([row], {"trial_id": [row.trial_id] * len(steps), "step": steps, **curves})
        report = sync(again.ledger, "sample", uri)
        after = trial_runs(uri)[row.trial_id]
        assert (report.created, report.removed) == (1, 1)
        assert after.info.run_id != before.info.run_id
        assert outcome_of(after).event("t_gen").kind == "censored"
        assert set(curve(uri, after, "test_accuracy").values()) == {0.0}

    def test_changed_coordinates_change_tags_only(self, sample: SampleSweep, uri: str) -> None:
        sample.commit_all()
        sync(sample.ledger, "sample", uri)
        before = trial_runs(uri)
        sample.coordinates = [{"seed": found["seed"], "decay": 0.5} for found in sample.coordinates]
        sample.record()
        sync(sample.ledger, "sample", uri)
        after = trial_runs(uri)
        assert {run.info.run_id for run in before.values()} == {run.info.run_id for run in after.values()}
        run = after[sample.trial_ids[0]]
        assert run.data.tags["coordinate.decay"] == "0.5"
        assert "coordinate.arm" not in run.data.tags
        assert run.info.run_name == "decay=0.5, seed=0"

    def test_removes_old_runs_and_keeps_the_users_own(self, sample: SampleSweep, uri: str) -> None:
        sample.commit_all()
        sync(sample.ledger, "sample", uri)
        client = MlflowClient(tracking_uri=uri)
        experiment_id = client.get_experiment_by_name("sample").experiment_id
        own = client.create_run(experiment_id, run_name="a note of somebody").info.run_id
        client.create_run(experiment_id, tags={"grokscape.kind": "trial", "grokscape.trial_id": sample.trial_ids[0]})
        sample.trial_ids, sample.coordinates = sample.trial_ids[:3], sample.coordinates[:3]
        sample.record()
        report = sync(sample.ledger, "sample", uri)
        assert report.removed == 2  # the fourth trial and the doubled first
        runs = all_runs(uri)
        assert sorted(run.data.tags.get("grokscape.trial_id", "") for run in runs) == sorted(
            [*sample.trial_ids, "", ""]
        )
        assert own in {run.info.run_id for run in runs}

    def test_only_the_named_trials(self, sample: SampleSweep, uri: str) -> None:
        sample.commit_all()
        report = sync(sample.ledger, "sample", uri, trial_ids=sample.trial_ids[:1])
        assert report.created == 1
        assert set(trial_runs(uri)) == set(sample.trial_ids[:1])

    def test_a_deleted_experiment_comes_back(self, sample: SampleSweep, uri: str) -> None:
        sample.commit_all()
        sync(sample.ledger, "sample", uri)
        client = MlflowClient(tracking_uri=uri)
        client.delete_experiment(client.get_experiment_by_name("sample").experiment_id)
        sync(sample.ledger, "sample", uri)
        assert set(trial_runs(uri)) == set(sample.trial_ids)


class TestLimits:
    def test_calls_keep_the_limits(self) -> None:
        content = tracking_content.RunContent(
            name="large",
            params={f"p{i}": "\u221e" * 6000 for i in range(150)},
            tags=tracking_content.fitted_tags({"grokscape.synced": "s"} | {f"t{i}": "x" * 9000 for i in range(250)}),
            points=tuple(tracking_content.Point(f"metric{i % 7}", 0.1, i, i) for i in range(2500)),
            status="FINISHED",
            start_ms=0,
            end_ms=0,
        )
        calls = list(tracking_content.batches(content, None))
        for points, params, tags in calls:
            assert len(points) <= 1000
            assert len(params) <= 100
            assert len(tags) <= 100
            assert len(points) + len(params) + len(tags) <= 1000
            body = json.dumps(
                [
                    [{"key": p.key, "value": p.value, "timestamp": p.timestamp, "step": p.step} for p in points],
                    [{"key": key, "value": text} for key, text in (params | tags).items()],
                ]
            )
            assert len(body) < 1_000_000
        assert [point for points, _, _ in calls for point in points] == list(content.points)
        assert {key: text for _, params, _ in calls for key, text in params.items()} == content.params
        assert {key: text for _, _, tags in calls for key, text in tags.items()} == content.tags
        assert list(calls[-1][2])[-1] == "grokscape.synced"

    def test_keys_fit_and_stay_different(self) -> None:
        good = ["optimizer.weight_decay", "coordinate.a b/c-d", "λ_1", "k" * 250]
        assert [tracking_content.fitted_key(key) for key in good] == good
        bad = [
            "k" * 251,
            "k" * 250 + "l",
            "a|b",
            "a=b",
            "a b\n",
            "",
            ".",
            "..",
            "../a",
            "/a",
            "//a",
            "a//b",
            "a/",
            "a/./b",
        ]
        bad += ["a:b", "x\0y", "x\ud800y", "x\ud801y", "t_⊥"]
        fitted = [tracking_content.fitted_key(key) for key in bad]
        assert len({*fitted, *bad}) == 2 * len(bad)
        for key in fitted:
            _validate_param_name(key)
            _validate_tag_name(key)
            _validate_metric_name(key)
            assert len(key) <= 250
            assert tracking_content.fitted_key(key) == key

    def test_long_texts_stay_different(self) -> None:
        ends = ["x" * 9000 + "a", "x" * 9000 + "b", "x\0", "x\ud800", "x\ud801"]
        texts = [tracking_content.fitted_tags({"tag": text})["tag"] for text in ends]
        names = [tracking_content.fitted_name(text) for text in ends]
        for fitted, limit in ((texts, 8000), (names, 250)):
            assert len({*fitted}) == len(ends)
            assert all(len(text) <= limit and "\0" not in text and text.encode() for text in fitted)

    def test_a_sweep_larger_than_a_call(self, tmp_path: Path, uri: str) -> None:
        """Its row takes more tags than one, and fewer once it is smaller; another label of a stranger is no piece."""
        sample = SampleSweep(Ledger.open(str(tmp_path / "ledger"), create=True), arms=100, seeds=20)
        sync(sample.ledger, "sample", uri)
        sample.trial_ids, sample.coordinates = sample.trial_ids[:3], sample.coordinates[:3]
        pieces = []
        for _ in range(2):
            sync(sample.ledger, "sample", uri)
            [parent] = all_runs(uri)
            pieces.append(len([name for name in parent.data.tags if name.startswith("grokscape.sheet.")]))
            assert tracking_content.read_sheet(parent.data.tags, "sample") == sample.ledger.sweep("sample")
            sample.record()
        assert pieces[0] > 10
        assert pieces[1] == 1

    def test_a_long_error(self, tmp_path: Path, uri: str) -> None:
        sample = SampleSweep(Ledger.open(str(tmp_path / "ledger"), create=True))
        row = sample.row(0, 0, TrialState.FAILED, error="x" * 20_000, error_kind="error")
        sample.ledger.commit([row], {"trial_id": [], "step": []})
        sync(sample.ledger, "sample", uri)
        assert len(trial_runs(uri)[row.trial_id].data.tags["grokscape.error"]) == 8000

    def test_more_points_than_one_call_takes(self, tmp_path: Path, uri: str) -> None:
        sample = SampleSweep(Ledger.open(str(tmp_path / "ledger"), create=True), horizon_steps=100_000)
        sample.commit(0)
        sync(sample.ledger, "sample", uri)
        run = trial_runs(uri)[sample.trial_ids[0]]
        assert sum(len(curve(uri, run, column)) for column in COLUMNS) > 1000
        assert max(len(curve(uri, run, column)) for column in COLUMNS) <= 100


@pytest.mark.parametrize("horizon", [1, 15, 20, 21, 1500, 100_000])
def test_curves_only_grow(horizon: int) -> None:
    steps = Measuring().steps(horizon)
    chosen = tracking_content.curve_mask(steps)
    assert chosen.sum() <= 100
    assert chosen[: min(len(steps), 21)].all()
    for length in range(0, len(steps), 7):
        assert (tracking_content.curve_mask(steps[:length]) == chosen[:length]).all()


def test_a_new_probe_changes_no_digest() -> None:
    rows = {"trial_id": ["a", "a"], "step": [0, 1], "train_loss": [1.0, math.nan]}
    known = tracking_content.rows_digest(pa.table(rows), 1)
    assert tracking_content.rows_digest(pa.table(rows | {"new_probe": pa.nulls(2, pa.float64())}), 1) == known
    assert tracking_content.rows_digest(pa.table(rows | {"train_loss": [1.0, None]}), 1) != known
    assert tracking_content.rows_digest(pa.table(rows | {"train_loss": [1.0, 2.0]}), 0) == (
        tracking_content.rows_digest(pa.table(rows), 0)
    )
