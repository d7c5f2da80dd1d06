"""The walls of the house: who may import whom, by the source and by what an import really loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path for room in ("pipeline", "trainables", "analysis", "search_spaces") for path in (ROOT / room).rglob("*.py")
]
KERNEL = "trainables/engine/gather_sum.py"
"""Written in Triton, which comes with torch where there is a GPU, and does without it elsewhere."""
RAY = {"pipeline/execution/ray_tune.py", "trainables/runtime/trainable.py"}
ANSWERS = {"pipeline/sweep.py", "pipeline/command.py"}
"""These two put a run and its figures together."""
COMPUTED = {f"analysis/paper/figures/{name}.py" for name in ("fig03", "fig07", "prop1", "prop2")}
"""What these figures show is computed with the engine itself, when their evidence is kept; never at import."""
MOST_MODULES, MOST_LINES = 14, 500
CROWDED = {"trainables/engine", "analysis/paper/figures", "search_spaces/paper"}
"""Folders of components, figures and spaces: one file each, as many as there are."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    return name_of(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, at the top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (below & MODULES.keys()) or {node.module}
    return found


def in_rooms(module: str, *rooms: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def forbidden(name: str) -> Iterator[str]:
    """The imports of a file that break a wall."""
    top = name.split("/")[0]
    for module in imports(ROOT / name):
        root = module.split(".")[0]
        if name.startswith("trainables/engine/"):
            known = {*sys.stdlib_module_names, "torch", "numpy", *(["triton"] if name == KERNEL else ())}
            if root not in known and not in_rooms(module, "trainables.engine"):
                yield module
        elif root == "ray":
            if name not in RAY and top != "search_spaces":
                yield module
        elif top == "trainables":
            pyarrow = name.startswith("trainables/data/")
            if root in {"pipeline", "analysis", "search_spaces", "mlflow", "pandas"} or (
                root == "pyarrow" and not pyarrow
            ):
                yield module
        elif top == "pipeline":
            if root == "search_spaces" or (root == "analysis" and name not in ANSWERS):
                yield module
        elif top == "analysis":
            allowed = [
                "pipeline.ledger",
                "trainables.engine.config",
                "trainables.engine.events",
                "trainables.engine.errors",
                "trainables.engine.phase_colours",
                "trainables.engine.terminal",
                "trainables.runtime.rows",
            ]
            # What a run is called in MLflow is said once, where it is written.
            allowed += (
                ["pipeline.tracking.client", "pipeline.tracking.content"] if name == "analysis/data/mlflow.py" else []
            )
            allowed += ["trainables.engine", "torch"] if name in COMPUTED else []
            if root in {"pipeline", "trainables", "search_spaces", "torch"} and not in_rooms(module, *allowed):
                yield module
        elif top == "search_spaces" and root not in {"pipeline", "trainables"}:
            yield module


def test_imports_point_down_only():
    assert not {name_of(path): found for path in SOURCES if (found := sorted(forbidden(name_of(path))))}


@pytest.mark.parametrize(
    ("room", "absent"),
    [
        ("analysis", {"ray", "torch"}),
        ("trainables.engine", {"ray", "mlflow", "pyarrow", "pandas"}),
        ("trainables", {"mlflow", "pyarrow", "pandas", "torchvision"}),
        ("pipeline.spec", {"ray", "mlflow", "torch"}),
        ("pipeline.plan", {"ray", "mlflow", "torch"}),
        ("pipeline.ledger", {"ray", "mlflow", "torch"}),
    ],
)
def test_an_import_loads_nothing_heavy(room, absent):
    modules = [name for name, path in MODULES.items() if in_rooms(name, room) and name_of(path) not in RAY]
    code = f"import sys, {', '.join(modules)}; print(sorted({absent!r} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        "pipeline.sweep",
        "pipeline.status",
        "pipeline.cancel",
        "pipeline.ledger",
        "pipeline.tracking",
        "analysis.phase_diagram",
        "analysis.report",
        "analysis.figures",
    ],
)
def test_help_loads_nothing_heavy(command):
    code = f"""
import atexit, runpy, sys
heavy = {{"ray", "mlflow", "torch", "pandas", "pyarrow", "scipy", "matplotlib", "optuna"}}
atexit.register(lambda: print("loaded:", sorted(heavy & set(sys.modules))))
sys.argv = [{command!r}, "--help"]
runpy.run_module({command!r}, run_name="__main__")
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.startswith("usage: ")
    assert out.splitlines()[-1] == "loaded: []"


def test_imports_make_no_circle():
    """Not even for types; a package and its own modules are one."""
    graph = {name: (imports(path) & MODULES.keys()) - {name} for name, path in MODULES.items()}
    while free := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in free:
            del graph[name]
    # What is left is in a circle, or leads to one.
    while loose := [name for name in graph if not any(name in targets for targets in graph.values())]:
        for name in loose:
            del graph[name]
    assert not sorted(graph)


def test_a_package_holds_its_public_names_only():
    """Imports, their list, and what makes them lazy."""
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.If, ast.FunctionDef)
    for path in SOURCES:
        if path.name == "__init__.py":
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert all(isinstance(node, allowed) for node in body), name_of(path)
            functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
            assert functions <= {"__getattr__", "__dir__"}, name_of(path)


def test_a_file_holds_one_idea_and_a_folder_few_files():
    long, silent, folders = [], [], {}
    for path in (path for path in SOURCES if path.name != "__init__.py"):
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > MOST_LINES:
            long.append(name_of(path))
        if not ast.get_docstring(ast.parse(text)):
            silent.append(name_of(path))
        folders.setdefault(name_of(path.parent), []).append(path.name)
    assert not long, "split it by what it is about"
    assert not silent, "say at the top what the file is about"
    assert not {
        name: len(files) for name, files in folders.items() if len(files) > MOST_MODULES and name not in CROWDED
    }
