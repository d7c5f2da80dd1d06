"""What is told of where a result comes from."""

import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline.execution import provenance
from trainables.engine.gradients import OrthogonalGradient
from trainables.engine.optimizers import SGD, AdamW
from trainables.engine.stopping import Stopping
from trainables.engine.tasks import ModularAddition, ModularMultiplication
from trainables.engine.trial import Seeds
from trainables.grokking import GrokkingTrial


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], dict[str, Any]]]:
    """What a checkout in a given folder tells of itself."""

    def collect_in(folder: Path) -> dict[str, Any]:
        monkeypatch.setattr(provenance, "CHECKOUT", folder.resolve())
        provenance._collected.cache_clear()
        return provenance.collect()

    yield collect_in
    provenance._collected.cache_clear()


def test_versions_machine_and_json() -> None:
    found = provenance.collect()
    assert found["versions"]["numpy"] == __import__("numpy").__version__
    assert set(found["versions"]) >= {"torch", "ray", "mlflow", "pyarrow", "numpy"}
    assert found["python"].startswith("3.")
    assert found["hostname"]
    assert found["cpu"]
    assert found["cpu_count"] >= 1
    assert json.loads(json.dumps(found)) == found


def test_the_commit_and_what_differs_from_it(tmp_path: Path, collect: Callable[[Path], dict[str, Any]]) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "task.py").write_text("one = 1\n")
    (tmp_path / ".gitignore").write_text("results/\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    clean = collect(tmp_path)
    assert clean["commit"] == git(tmp_path, "rev-parse", "HEAD")
    assert (clean["dirty"], clean["diff"]) == (False, None)

    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.py").write_text("")
    assert collect(tmp_path)["dirty"] is False

    (tmp_path / "task.py").write_text("one = 2\n")
    changed = collect(tmp_path)
    (tmp_path / "new_task.py").write_text("two = 2\n")
    added = collect(tmp_path)
    assert changed["dirty"] is added["dirty"] is True
    assert len({None, changed["diff"], added["diff"]}) == 3
    assert collect(tmp_path) == added


def test_outside_a_checkout_and_inside_somebody_elses(
    tmp_path: Path, collect: Callable[[Path], dict[str, Any]]
) -> None:
    unknown = {"commit": None, "dirty": None, "diff": None}
    assert collect(tmp_path).items() >= unknown.items()
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "another project")
    (tmp_path / "site-packages").mkdir()
    assert collect(tmp_path / "site-packages").items() >= unknown.items()


def test_without_git(
    tmp_path: Path, collect: Callable[[Path], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collect(tmp_path)["commit"] is None


def test_neither_torch_nor_ray_is_imported() -> None:
    code = """
        import sys
        from pipeline.execution import provenance
        provenance.collect(), provenance.device_kind("cpu")
        assert not {"torch", "ray", "mlflow"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_device_kinds() -> None:
    cpu = provenance.device_kind("cpu")
    assert cpu.startswith("cpu:")
    assert len(cpu) > len("cpu:")
    with pytest.raises(ValueError, match=r"this machine has [0-9]+ CUDA GPUs"):
        provenance.device_kind("cuda:99")


class TestSourceHash:
    def trial(self, **changes: Any) -> GrokkingTrial:
        return GrokkingTrial(**{"task": ModularAddition(), "horizon_steps": 10, **changes})

    def test_it_is_of_the_classes_not_of_their_values_or_the_demand(self) -> None:
        known = provenance.source_hash(self.trial())
        assert provenance.source_hash(self.trial(seeds=Seeds.all(3), optimizer=AdamW(weight_decay=1.0))) == known
        protocol = self.trial(horizon_steps=99, stopping=Stopping(on_success=False))
        assert provenance.source_hash(protocol) == known
        others = [{"optimizer": SGD()}, {"gradient": OrthogonalGradient()}, {"task": ModularMultiplication()}]
        assert len({known, *(provenance.source_hash(self.trial(**other)) for other in others)}) == 4

    def test_it_covers_the_cohort_and_helpers_but_no_other_component(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reached: list[str] = []

        def seen(value: Any) -> str:
            reached.extend(value)
            return "digest"

        monkeypatch.setattr(provenance, "digest", seen)
        for cached in (provenance._reached_digest, provenance._digest_of_all):
            cached.cache_clear()
        provenance.source_hash(self.trial(optimizer=SGD()))
        for cached in (provenance._reached_digest, provenance._digest_of_all):
            cached.cache_clear()
        names = set(re.findall(r"^ *(?:class|def) (\w+)", "\n".join(reached), flags=re.MULTILINE))
        assert names >= {"GrokkingCohort", "stack_hyper", "SGD", "Optimizer", "MLP", "ModularAddition"}
        assert not names & {"AdamW", "StableMaxCrossEntropy", "OrthogonalGradient", "Outcome", "Stopping", "Config"}

    @pytest.fixture
    def hash_of(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
        """The hash of the class ``Component`` in a module of a package of its own."""

        def hash_of(source: str) -> str:
            path = tmp_path / "component_module.py"
            path.write_text(textwrap.dedent(source))
            spec = importlib.util.spec_from_file_location("component_module", path)
            assert spec is not None
            assert spec.loader is not None
            module: ModuleType = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, "component_module", module)
            provenance.inspect.linecache.clearcache()
            spec.loader.exec_module(module)
            return provenance.source_hash(module.Component())

        return hash_of

    SOURCE = '''
        """A module."""
        import math
        from dataclasses import dataclass

        from trainables.engine.config import Config, option

        EPS = 1e-3
        TABLE = {"a": math.inf}

        def helper(x):
            return x + EPS

        def unused(x):
            return x

        @dataclass(frozen=True, kw_only=True)
        class Component(Config):
            """What it does."""

            rate: float = option(0.1)

            def step(self, x):
                """One step."""
                # as in the paper
                return helper(x) * self.rate + len(TABLE)
    '''

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("# as in the paper", "# as in the code"),
            ('"""One step."""', '"""A step, in two\n                lines."""\n'),
            ("def unused(x):\n            return x", "def unused(x):\n            return -x"),
            ("import math\n", "import math\n        import json\n"),
        ],
    )
    def test_what_does_not_count(self, hash_of: Callable[[str], str], old: str, new: str) -> None:
        assert old in self.SOURCE
        assert hash_of(self.SOURCE.replace(old, new)) == hash_of(self.SOURCE)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("self.rate +", "self.rate -"),
            ("return x + EPS", "return x - EPS"),
            ("EPS = 1e-3", "EPS = 1e-4"),
            ('{"a": math.inf}', '{"a": math.inf, "b": 0}'),
            ("option(0.1)", "option(0.2)"),
        ],
    )
    def test_what_counts(self, hash_of: Callable[[str], str], old: str, new: str) -> None:
        assert old in self.SOURCE
        assert hash_of(self.SOURCE.replace(old, new)) != hash_of(self.SOURCE)

    def test_what_lies_beside_counts(self, hash_of: Callable[[str], str], tmp_path: Path, monkeypatch: Any) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        inside = "        def helper(x):\n            return x + EPS\n"
        source = self.SOURCE.replace(inside, "        from helper_module import helper\n")
        hashes = set()
        for text in ("def helper(x):\n    return x", "def helper(x):\n    return -x"):
            (tmp_path / "helper_module.py").write_text(text)
            monkeypatch.delitem(sys.modules, "helper_module", raising=False)
            hashes.add(hash_of(source))
        assert len(hashes) == 2

    def test_it_is_the_same_in_another_process(self) -> None:
        code = """
            from pipeline.execution import provenance
            from trainables.engine.tasks import ModularAddition
            from trainables.grokking import GrokkingTrial
            print(provenance.source_hash(GrokkingTrial(task=ModularAddition(), horizon_steps=10)))
        """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
        assert done.stdout.strip() == provenance.source_hash(self.trial())
