"""The walls of the house: who may import whom, by the source and by what an import really loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("pipeline", "trainables", "analysis", "search_spaces")
ENGINE_ALLOWED = {f"analysis/paper/{name}.py" for name in ("fig03", "fig07", "prop1", "prop2")}
"""What these figures show is computed with the engine itself, when it is kept; never at import."""
RAY_ALLOWED = {"pipeline/launch.py", "trainables/trainable.py"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, at the top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_down_only(path):
    name, tops = name_of(path), {module.split(".")[0] for module in imports(path)}
    room = name.split("/")[0]
    if room == "trainables":
        forbidden = {"pipeline", "analysis", "search_spaces", "mlflow", "pyarrow", "pandas"}
        # Sets of images and text come as Parquet; what reads them loads it when it does, as the test below checks.
        assert not tops & (forbidden - {"pyarrow"} if path.match("trainables/datasets*.py") else forbidden)
    if name.startswith("trainables/engine/"):
        outside = {module.split(".")[0] for module in imports(path)} - set(sys.stdlib_module_names)
        assert outside <= {"torch", "numpy", "trainables"}
        assert {module for module in imports(path) if module.startswith("trainables")} <= {
            module
            for module in imports(path)
            if module.startswith("trainables.engine") or module == "trainables.grokking"
        }
    if room == "pipeline" and name != "pipeline/sweep.py":
        assert "analysis" not in tops
    if room in ("pipeline", "trainables") and name not in RAY_ALLOWED:
        assert "ray" not in tops
    if room == "analysis":
        engine = name in ENGINE_ALLOWED
        assert not tops & ({"ray", "search_spaces"} if engine else {"ray", "torch", "search_spaces"})
        # What a run is called in MLflow is said once, where it is written.
        mlflow = (
            {"pipeline.tracking_server", "pipeline.tracking_content"} if name == "analysis/load_mlflow.py" else set()
        )
        assert {module for module in imports(path) if module.startswith("pipeline")} <= {"pipeline.ledger"} | mlflow
        below = {module for module in imports(path) if module.startswith("trainables")}
        below = {module for module in below if not (engine and module.startswith("trainables.engine."))}
        assert below <= {"trainables.engine.outcome", "trainables.records"}


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (
            [name_of(p)[:-3].replace("/", ".") for p in SOURCES if p.parts[len(ROOT.parts)] == "analysis"],
            {"ray", "torch"},
        ),
        (
            [name_of(p)[:-3].replace("/", ".") for p in SOURCES if p.parent.name == "engine"],
            {"ray", "mlflow", "pyarrow", "pandas"},
        ),
        (
            [
                name_of(p)[:-3].replace("/", ".")
                for p in SOURCES
                if p.parts[len(ROOT.parts)] == "trainables" and name_of(p) not in RAY_ALLOWED
            ],
            {"mlflow", "pyarrow", "pandas", "torchvision"},
        ),
        (["pipeline.spec", "pipeline.plan", "pipeline.ledger"], {"ray", "mlflow"}),
    ],
    ids=["analysis", "engine", "trainables", "pipeline"],
)
def test_an_import_loads_nothing_heavy(modules, absent):
    modules = [module.removesuffix(".__init__") for module in modules]
    code = f"import sys, {', '.join(modules)}; print(sorted({absent!r} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_packages_start_empty():
    assert not [name_of(path) for path in SOURCES if path.name == "__init__.py" and path.stat().st_size]


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name != "__init__.py"], ids=name_of)
def test_a_file_holds_one_idea(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 500, "split it by what it is about"
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "say at the top what the file is about"
