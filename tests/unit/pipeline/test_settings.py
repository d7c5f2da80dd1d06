"""The settings of a run: checked once, carried by a space, overridden by flags, resolved on a machine.

A machine's GPUs are counted in a pretence of torch's.
"""

import re
from dataclasses import fields

import pytest
import torch

from pipeline.execution import resources
from pipeline.execution.resources import resolve, slots
from pipeline.spec.settings import RunSettings, SettingsError
from pipeline.spec.space_file import load_space
from pipeline.terminal.flags import override, parser
from tests.support.small_batches import SmallTrial
from tests.support.sweep_runs import write_space
from trainables.engine.config import ConfigError
from trainables.engine.models import MLP
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

GROKS = GrokkingTrial(task=ModularAddition(p=5), model=MLP(hidden=(4,)), horizon_steps=10)
BATCHES = SmallTrial(horizon_steps=5)


def overridden(settings, *flags):
    return override(settings, parser().parse_args(["space.py", *flags]))


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"workers": 0}, "workers = 0: must be at least 1"),
        ({"cohort_size": "big"}, "cohort_size = 'big': must be a"),
        ({"max_hours": 0}, "max_hours = 0.0: must be above 0"),
        ({"gpus_per_cohort": -1}, "gpus_per_cohort = -1.0: must be above 0"),
        ({"gpus_per_cohort": 1.5}, "gpus_per_cohort = 1.5: must be a share of one GPU, such as .25, or an integer"),
        ({"device": "tpu"}, "device = 'tpu': must be cpu, cuda or cuda:N"),
        ({"ledger": 3}, "ledger = 3: must be a"),
    ],
)
def test_a_bad_value_is_an_error(values, line):
    with pytest.raises(ConfigError, match=f"^RunSettings.{re.escape(line)}"):
        RunSettings(**values)


def test_each_setting_has_a_flag_with_a_help():
    actions = {action.dest: action for action in parser()._actions}
    for spec in fields(RunSettings):
        assert f"--{spec.name.replace('_', '-')}" in actions[spec.name].option_strings
        assert actions[spec.name].help.startswith(spec.metadata["help"])
    assert overridden(RunSettings()) == RunSettings()


def test_flags_override_the_space(tmp_path):
    settings = ', settings=RunSettings(workers=3, cohort_size=7, max_hours=2.5, ledger="there", mlflow_uri=None)'
    carried = load_space(write_space(tmp_path, f"base=BASE{settings}")).spec.settings
    assert carried == RunSettings(workers=3, cohort_size=7, max_hours=2.5, ledger="there", mlflow_uri=None)
    short = load_space(write_space(tmp_path, "base=BASE, workers=3, cohort_size=7, max_hours=2.5", name="short"))
    assert short.spec.settings == RunSettings(workers=3, cohort_size=7, max_hours=2.5)
    assert overridden(carried) == carried
    flags = ["--workers", "1", "--cohort-size", "auto", "--ledger", "here", "--max-hours", "0.5", "--rerun-failed"]
    changed = RunSettings(workers=1, cohort_size=None, max_hours=0.5, ledger="here", mlflow_uri=None, rerun_failed=True)
    assert overridden(carried, *flags) == changed
    assert overridden(RunSettings(), "--mlflow-uri", "none").mlflow_uri is None
    assert not overridden(changed, "--no-rerun-failed").rerun_failed


def test_a_flag_overrides_what_contradicts_it_in_the_space():
    assert overridden(RunSettings(workers=3, address="head:6379"), "--local") == RunSettings(local=True)
    joined = overridden(RunSettings(local=True), "--address", "head:6379")
    assert joined == RunSettings(address="head:6379")
    for flags in (("--workers", "3"), ("--address", "head:6379")):
        with pytest.raises(SettingsError, match=f"^{' '.join(flags)}: .* drop one of them"):
            resolve(overridden(RunSettings(device="cpu"), "--local", *flags), GROKS)


def test_the_home_folder_wherever_a_setting_is_a_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = RunSettings(ledger="~/l", mlflow_uri="sqlite:///~/m.db", data="~", out="~/o/~")
    assert [settings.ledger, settings.data, settings.out] == [f"{tmp_path}/l", f"{tmp_path}", f"{tmp_path}/o/~"]
    assert settings.mlflow_uri == f"sqlite:///{tmp_path}/m.db"
    assert overridden(RunSettings(), "--mlflow-uri", "sqlite+pysqlite:///~/m.db").mlflow_uri == (
        f"sqlite+pysqlite:///{tmp_path}/m.db"
    )
    assert RunSettings(ledger="./~/l", mlflow_uri="http://host/~team").mlflow_uri == "http://host/~team"
    with pytest.raises(ConfigError, match=r"^RunSettings.out = '~nobody-of-that-name/x': there is no such home folder"):
        RunSettings(out="~nobody-of-that-name/x")


def test_the_tracking_address_is_the_flag_s_the_space_s_or_the_environment_s(monkeypatch, tmp_path):
    space = write_space(
        tmp_path, "base=BASE, settings=RunSettings(mlflow_uri='sqlite:///results/mlflow.db')", name="own"
    )
    plain = write_space(tmp_path, "base=BASE", name="plain")
    assert load_space(plain).spec.settings.mlflow_uri == "sqlite:///results/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://team:5000")
    assert load_space(plain).spec.settings.mlflow_uri == "http://team:5000"
    assert overridden(load_space(plain).spec.settings, "--mlflow-uri", "none").mlflow_uri is None
    assert load_space(space).spec.settings.mlflow_uri == "sqlite:///results/mlflow.db"


@pytest.fixture
def gpus(monkeypatch):
    """A machine with four GPUs and 64 cores."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(resources, "device_kind", lambda device: "cuda:pretended")
    monkeypatch.setattr(resources.os, "sched_getaffinity", lambda pid: range(64), raising=False)
    monkeypatch.setattr(resources, "cpu_quotas", lambda: iter(()))


@pytest.mark.parametrize(
    ("base", "settings", "flags", "per_cohort", "workers", "cpus", "device"),
    [
        (GROKS, {}, (), 1.0, 4, 1.0, "cuda"),
        (GROKS, {}, ("--gpus-per-cohort", "0.25"), 0.25, 16, 1.0, "cuda"),
        (GROKS, {}, ("--gpus-per-cohort", ".4"), 0.4, 8, 1.0, "cuda"),
        (GROKS, {"gpus_per_cohort": 0.1}, (), 0.1, 40, 1.0, "cuda"),
        (GROKS, {"gpus_per_cohort": 0.1}, ("--gpus-per-trial", "1"), 1.0, 4, 1.0, "cuda"),
        (GROKS, {"gpus_per_cohort": 0.1}, ("--device", "cpu"), 0.0, 64, 1.0, "cpu"),
        (BATCHES, {}, ("--gpus-per-trial", "2"), 2.0, 2, 2.0, "cuda"),
        (BATCHES, {"gpus_per_cohort": 4, "cpus_per_cohort": 3}, (), 4, 1, 3, "cuda"),
        (BATCHES, {}, ("--local",), 1.0, 1, 1.0, "cuda:0"),
        (BATCHES, {}, ("--local", "--gpus-per-trial", "4"), 4.0, 1, 4.0, "cuda"),
    ],
)
def test_what_a_cohort_gets(gpus, base, settings, flags, per_cohort, workers, cpus, device):
    got = resolve(overridden(RunSettings(**settings), *flags), base)
    assert (got.gpus_per_cohort, got.workers, got.cpus_per_cohort) == (per_cohort, workers, cpus)
    assert got.device == device


@pytest.mark.parametrize(
    ("base", "flags", "line"),
    [
        (GROKS, ("--gpus-per-cohort", "2"), "2: a GrokkingTrial trains on one GPU; must be at most 1"),
        (BATCHES, ("--gpus-per-trial", "8"), "8: must be at most 4, the GPUs of this machine"),
        (BATCHES, ("--gpus-per-trial", "2", "--local"), "2: --local takes all 4 GPUs"),
        (BATCHES, ("--gpus-per-trial", "2", "--local", "--device", "cuda:1"), "2: must be 1 with --device cuda:1"),
        (BATCHES, ("--gpus-per-trial", "2", "--device", "cpu"), "2: needs a GPU: drop it or pass --device cuda"),
    ],
)
def test_gpus_that_cannot_be_are_refused(gpus, base, flags, line):
    with pytest.raises(SettingsError, match=re.escape(f"--gpus-per-cohort {line}")):
        resolve(overridden(RunSettings(), *flags), base)


@pytest.mark.parametrize("value", ["1.5", "0", "-1", "all", "nan", "inf"])
def test_a_count_of_gpus_that_is_none(capsys, value):
    with pytest.raises(SystemExit):
        parser().parse_args(["space.py", f"--gpus-per-trial={value}"])
    assert re.search(rf"--gpus-per-cohort/--gpus-per-trial: '{value}': must be ", capsys.readouterr().err)


def test_a_share_is_of_one_gpu():
    """Two shares of 0.4 fit on one GPU, and the rests of two make no third."""
    counts = [slots(99, gpus, 1.0, share) for gpus, share in ((2, 0.4), (1, 0.1), (3, 0.25), (8, 2), (7, 2), (0, 0.5))]
    assert counts == [4, 10, 12, 4, 3, 1]


@pytest.mark.parametrize(
    ("groups", "files", "quotas", "cpus"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, [1.5], 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, [], 64),
        ("0::/a.slice/b\n", {"a.slice/b/cpu.max": "max 100000", "a.slice/cpu.max": "300000 100000"}, [3.0], 3),
        ("0::/docker/away\n", {"cpu.max": "50000 100000"}, [0.5], 1),
        ("0::/../up\n", {"cpu.max": "400000 100000"}, [4.0], 4),
        (
            "5:cpu,cpuacct:/job\n4:cpuset:/\n0::/\n",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "-1", "cpu,cpuacct/job/cpu.cfs_period_us": "100000"}
            | {"cpu,cpuacct/cpu.cfs_quota_us": "500000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            [5.0],
            5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "9900000", "cpu/cpu.cfs_period_us": "100000"}, [99.0], 64),
        ("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "odd", "cpu.max": "", "unified/cpu.max": "0 0"}, [], 64),
    ],
)
def test_a_quota_of_cpus_counts_beside_the_affinity(tmp_path, monkeypatch, groups, files, quotas, cpus):
    written = {"proc/self/cgroup": groups} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(resources.cpu_quotas(tmp_path)) == quotas
    monkeypatch.setattr(resources.os, "sched_getaffinity", lambda pid: range(64), raising=False)
    monkeypatch.setattr(resources, "cpu_quotas", lambda: iter(quotas))
    assert resources.cpus_here() == cpus
