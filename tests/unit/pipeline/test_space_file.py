"""Loading a search-space file: what is taken from it, and one clear line for everything that can be wrong with it."""

import hashlib
import pickle
import statistics
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.execution.provenance import source_hash
from pipeline.spec import SpecError
from pipeline.spec.space_file import load_space
from trainables.engine.config import ConfigError, from_json
from trainables.engine.losses import SoftmaxCrossEntropy
from trainables.runtime.job import CohortJob
from trainables.runtime.own_modules import files_to_ship

ROOT = Path(__file__).resolve().parents[3]

GOOD = '''"""A question?

More about it.
    Indented.
"""

from pipeline.spec import SweepSpec
from trainables.engine.tasks import ModularAddition
from trainables.grokking import GrokkingTrial

SWEEP = SweepSpec(
    base=GrokkingTrial(task=ModularAddition(p=7), horizon_steps=10),
    axes={"optimizer.weight_decay": [0, 1]},
    seeds=range(2),
)
'''


def write(folder: Path, text: str, name: str = "space.py") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_space_has_its_name_text_revision_and_trials(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, "wd_and-more.2.py")
    space = load_space(path)
    assert space.name == "wd_and-more.2"
    assert space.doc == "A question?\n\nMore about it.\n    Indented."
    assert space.revision == hashlib.sha256(GOOD.encode()).hexdigest()
    assert space.path == Path(path)
    assert len(space.spec.trials()) == 4


def test_two_loads_give_the_same_trials(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    first, again = (load_space(path).spec.trials() for _ in "12")
    assert [trial.config.trial_id for trial in first] == [trial.config.trial_id for trial in again]


HELPERS = """from __future__ import annotations

import enum
import pickle
import typing
from dataclasses import dataclass, field


class Side(enum.StrEnum):
    LEFT = "float32"


class Pair(typing.NamedTuple):
    low: float
    side: Side = Side.LEFT


@dataclass(frozen=True, slots=True)
class Point:
    pair: Pair
    many: list[Point] = field(default_factory=list)


POINT = pickle.loads(pickle.dumps(Point(Pair(0.5))))
assert typing.get_type_hints(Point)["pair"] is Pair
"""


def test_a_file_may_define_helpers_of_every_kind(tmp_path: Path) -> None:
    """Also with postponed annotations, which are looked up in the file's module: while it runs, and later."""
    text = GOOD[GOOD.index("from pipeline") :].replace("[0, 1]", '[POINT.pair.low], "loss.dtype": [Side.LEFT]')
    space = load_space(write(tmp_path, HELPERS + text, "helpers-1.2.py"))
    assert space.spec.trials()[0].coordinates["loss.dtype"] == "float32"
    point = vars(sys.modules["search_space_helpers_1_2"])["POINT"]
    assert pickle.loads(pickle.dumps(point)) == point
    assert set(typing.get_type_hints(type(point))) == {"pair", "many"}
    with pytest.raises(SpecError, match=r"space\.py:1: ZeroDivisionError"):
        load_space(write(tmp_path, "1 / 0\n"))
    assert "search_space_space" not in sys.modules


def test_the_extent_is_in_the_name_where_flags_change_it(tmp_path: Path) -> None:
    space = load_space(write(tmp_path, GOOD))
    assert space.with_overrides() is space
    assert space.with_overrides(max_steps=10, seeds=2) is space
    names = [
        space.with_overrides(**flags).name for flags in ({"max_steps": 9}, {"seeds": 1}, {"max_steps": 9, "seeds": 3})
    ]
    assert names == ["space@steps9", "space@seeds1", "space@steps9-seeds3"]
    assert space.with_overrides(max_steps=9).spec.horizon_steps == 9
    arms = GOOD.replace("seeds=", 'arms=[Arm(name="a", patch={"horizon_steps": 50})], seeds=')
    longer = load_space(write(tmp_path, arms.replace("import SweepSpec", "import Arm, SweepSpec"), "longer.py"))
    assert [longer.with_overrides(max_steps=steps).name for steps in (50, 49)] == ["longer", "longer@steps49"]


def test_a_file_without_a_docstring_has_no_text(tmp_path: Path) -> None:
    assert load_space(write(tmp_path, GOOD.split('"""\n', 1)[1])).doc == ""


def test_what_a_file_prints_stays_off_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_space(write(tmp_path, GOOD + "print('hello')\n"))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


IMPORTS = GOOD[: GOOD.index("SWEEP =")]
LINES = IMPORTS.count("\n")
BAD = {
    "no SWEEP": (IMPORTS, r"{path}: defines no SWEEP; must define SWEEP = SweepSpec\(\.\.\.\)"),
    "SWEEP of another type": (GOOD + "SWEEP = [SWEEP]\n", "{path}: SWEEP is of type list; must be a SweepSpec"),
    "syntax": (IMPORTS + "SWEEP = (\n", f"{{path}}:{LINES + 1}: SyntaxError: '\\(' was never closed"),
    "name": (
        IMPORTS + "\nSWEEP = SweeepSpec()\n",
        f"{{path}}:{LINES + 2}: NameError: name 'SweeepSpec' is not defined",
    ),
    "import": ("\nimport no_such_thing\n", "{path}:2: ModuleNotFoundError: No module named 'no_such_thing'"),
    "in a function": (
        "def trouble():\n    return 1 / 0\n\n\ntrouble()\n",
        "{path}:2: ZeroDivisionError: division by zero",
    ),
    "in a library": ("import json\njson.loads('{')\n", "{path}:2: JSONDecodeError: Expecting property name"),
    "without a message": ("assert False\n", "{path}:1: AssertionError$"),
    "an exit": ("raise SystemExit(0)\n", "{path}:1: SystemExit: 0"),
    "an encoding": ("# coding: no-such\n", r"{path}:\d: SyntaxError: unknown encoding: no-such"),
    "a bad axis": (
        GOOD.replace("[0, 1]", "[0, -1]"),
        f"{{path}}:{LINES + 1}: axis optimizer.weight_decay: AdamW.weight_decay = -1.0: must be at least 0",
    ),
    "a bad base": (
        GOOD.replace("p=7", "p=1"),
        f"{{path}}:{LINES + 2}: ModularAddition.p = 1: must be at least 2",
    ),
    "an unknown field": (
        GOOD.replace("p=7", "q=7"),
        f"{{path}}:{LINES + 2}: ModularAddition got an unexpected field 'q'; allowed: .*p, train_fraction",
    ),
    "a field of the space that there is not": (
        GOOD.replace("axes=", "axis="),
        f"{{path}}:{LINES + 1}: SweepSpec got an unexpected field 'axis'; allowed: arms, axes, base, [^\\n]*settings$",
    ),
    "a missing field": (
        GOOD.replace("task=ModularAddition(p=7), ", ""),
        f"{{path}}:{LINES + 2}: GrokkingTrial missing 1 required field: 'task'; allowed: ",
    ),
    "a wrong call that is no component's": (GOOD + "dict.fromkeys(1, 2, 3)\n", "{path}:.*: TypeError: "),
    "a size too many": (
        GOOD + "SWEEP = {'full': SWEEP, 'laptop': SWEEP, 'huge': SWEEP}\n",
        "{path}: SWEEP has the keys 'full', 'laptop', 'huge'; must have 'full' and 'laptop'",
    ),
    "one size": (GOOD + "SWEEP = {'full': SWEEP}\n", "{path}: SWEEP has the keys 'full'; must have 'full' and"),
    "a size that is no space": (
        GOOD + "SWEEP = {'full': SWEEP, 'laptop': SWEEP.base}\n",
        r"{path}: SWEEP\['laptop'\] is of type GrokkingTrial; must be a SweepSpec",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line_with_its_place(tmp_path: Path, case: str) -> None:
    text, message = BAD[case]
    path = write(tmp_path, text)
    with pytest.raises(SpecError, match="^" + message.replace("{path}", path.replace(".", r"\."))) as caught:
        load_space(path)
    assert "\n" not in str(caught.value)


SIZED = GOOD.replace("SWEEP =", "LARGE =") + (
    "SWEEP = {'full': LARGE, 'laptop': SweepSpec(base=LARGE.base.replace(horizon_steps=5), seeds=range(1))}\n"
)


@pytest.mark.parametrize(
    ("size", "found", "trials"), [(None, "laptop", 1), ("laptop", "laptop", 1), ("full", "full", 4)]
)
def test_a_size_is_a_sweep_of_its_own(tmp_path: Path, size: str | None, found: str, trials: int) -> None:
    (tmp_path / "paper").mkdir()
    space = load_space(write(tmp_path / "paper", SIZED, "fig01.py"), size)
    assert (space.name, space.size, len(space.spec.trials())) == (f"fig01_{found}", found, trials)
    assert space.doc.startswith("A question?")


def test_a_size_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^size 'huge': must be one of full, laptop$"):
        load_space(write(tmp_path, SIZED), "huge")
    plain = write(tmp_path, GOOD)
    assert (load_space(plain).name, load_space(plain).size) == ("space", None)
    with pytest.raises(SpecError, match=r"space\.py: has no sizes: drop --size full$"):
        load_space(plain, "full")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.py: cannot be read \(No such file or directory\)"):
        load_space(str(tmp_path / "none.py"))
    write(tmp_path, GOOD)
    for typed in ("space", "spcae.py"):
        with pytest.raises(SpecError, match=r"MODULE:TRIAL; did you mean .*/space\.py\?$"):
            load_space(tmp_path / typed)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot be read \(Is a directory\)"):
        load_space(str(tmp_path))


@pytest.mark.parametrize("name", ["space.txt", "my space.py", ".hidden.py", "dot..py", f"{'x' * 101}.py"])
def test_a_name_that_cannot_name_a_sweep(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match=r"must end in \.py and have at most 100 letters"):
        load_space(write(tmp_path, GOOD, name))


LOSS = """from dataclasses import dataclass

from trainables import SoftmaxCrossEntropy


@dataclass(frozen=True, kw_only=True)
class MyLoss(SoftmaxCrossEntropy):
    pass
"""


class TestModulesBesideTheSpace:
    @pytest.fixture(autouse=True)
    def _imports(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """The path and the modules are as before, but for what was imported from everywhere else."""
        monkeypatch.setattr(sys, "path", [*sys.path])
        before = set(sys.modules)
        yield
        for name in {name for name in set(sys.modules) - before if name.startswith("my_")}:
            del sys.modules[name]

    def test_a_component_of_theirs_has_its_module_in_its_name(self, tmp_path: Path) -> None:
        write(tmp_path, LOSS, "my_losses.py")
        text = GOOD.replace("horizon_steps=10", "loss=MyLoss(), horizon_steps=10")
        space = load_space(write(tmp_path, text.replace("\nSWEEP", "from my_losses import MyLoss\n\nSWEEP")))
        loss = space.spec.base.to_json()["loss"]
        assert loss["class"] == "my_losses:MyLoss"
        assert from_json(loss) == space.spec.base.loss
        # Not the space itself, which is a module too.
        assert [Path(place).name for place in files_to_ship() if str(tmp_path) in place] == ["my_losses.py"]

    def test_the_folder_shadows_nothing(self, tmp_path: Path) -> None:
        sys.modules.pop("colorsys", None)
        write(tmp_path, "raise RuntimeError\n", "colorsys.py")
        load_space(write(tmp_path, "import colorsys\n" + GOOD))
        assert sys.path[-1] == str(tmp_path)

    def test_what_is_wrong_in_such_a_module_has_its_line(self, tmp_path: Path) -> None:
        write(tmp_path, "\nX = 1 / 0\n", "my_broken.py")
        with pytest.raises(SpecError, match=r"space\.py:1: ZeroDivisionError: division by zero \(my_broken\.py:2\)$"):
            load_space(write(tmp_path, "import my_broken\n"))
        write(tmp_path, "X = (\n", "my_syntax.py")
        with pytest.raises(SpecError, match=r"space\.py:1: SyntaxError: .* \(my_syntax\.py:1\)$"):
            load_space(write(tmp_path, "import my_syntax\n"))

    def test_components_are_imported_first(self, tmp_path: Path) -> None:
        write(tmp_path, LOSS, "my_losses.py")
        space = write(tmp_path, "import sys\n\nassert 'my_losses' in sys.modules\n" + GOOD)
        with pytest.raises(SpecError, match="AssertionError"):
            load_space(space)
        load_space(space, components=["my_losses"])
        with pytest.raises(SpecError, match=r"^module my_other is not importable on .*: No module named 'my_other'$"):
            load_space(space, components=["my_other"])

    def test_a_space_may_define_a_component_that_workers_import(self, tmp_path: Path) -> None:
        text = (
            "from __future__ import annotations\n"
            + LOSS
            + GOOD.replace("horizon_steps", "loss=MyLoss(), horizon_steps")
        )
        space = load_space(write(tmp_path, text, "own_loss.py"))
        config = space.spec.trials()[0].config
        assert config.to_json()["loss"]["class"] == "own_loss:MyLoss"
        first = config.trial_id
        assert source_hash(config) != source_hash(config.replace(loss=SoftmaxCrossEntropy()))
        job = CohortJob(trials=(config,), device="cpu")
        assert job.modules == ("own_loss",)
        assert str(tmp_path / "own_loss.py") in files_to_ship()
        # A worker, which has only the text of the job.
        code = "import sys; from trainables.runtime.job import CohortJob; "
        code += "print(CohortJob.from_text(sys.stdin.read()).trials[0].trial_id)"
        done = subprocess.run(
            [sys.executable, "-c", code], input=job.to_text(), capture_output=True, text=True, cwd=ROOT
        )
        assert done.stdout.strip() == first, done.stderr
        assert load_space(tmp_path / "own_loss.py").spec.trials()[0].config.trial_id == first

    @pytest.mark.parametrize(
        ("name", "why"), [("own-loss.py", "no name of a module"), ("statistics.py", "the name of another module")]
    )
    def test_a_component_needs_a_file_that_workers_can_import(self, tmp_path: Path, name: str, why: str) -> None:
        text = LOSS + GOOD.replace("horizon_steps", "loss=MyLoss(), horizon_steps")
        with pytest.raises(SpecError, match=f"defines MyLoss itself, .* is {why}: rename the file, or move MyLoss"):
            load_space(write(tmp_path, text, name))
        with pytest.raises(ConfigError, match="no such component"):
            from_json({"class": f"search_space_{name[:-3].replace('-', '_')}:MyLoss"})
        assert "mean" in dir(statistics)
