"""Where a result comes from: the code, the packages and the machine.  Does not import torch, except for a GPU.

Three answers: :func:`collect` describes this process's surroundings, :func:`source_hash` the code that decides
the path of one trial's weights, and :func:`device_kind` the hardware that its numbers belong to.
"""

import ast
import hashlib
import importlib.metadata
import inspect
import linecache
import os
import platform
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from trainables.engine.config import Config, ConfigError, digest
from trainables.engine.names import HOUSE, component_name
from trainables.runtime.own_modules import are_beside

PACKAGES = ("torch", "ray", "mlflow", "pyarrow", "numpy", "optuna", "pandas")
CHECKOUT = Path(__file__).resolve().parents[2]
GIT_TIMEOUT_S = 10.0
COMPONENT_DIGITS = 8

NOT_THE_PATH = frozenset({"config", "trial", "stopping", "names", "events", "probes"})
"""Modules of the engine that validate, measure and stop, and do not move the weights."""


def collect() -> dict[str, Any]:
    """JSON values: ``commit``, ``dirty`` and ``diff`` of the checkout (None outside git), ``python``, ``versions``,
    ``hostname``, ``platform``, ``cpu``, ``cpu_count``.  Collected once a process."""
    return dict(_collected())


def source_hash(config: Config) -> str:
    """A digest of the code that decides the path of the weights of a trial.

    It covers the class of every component that belongs to the trial's identity and whatever these classes refer to
    in our packages or beside themselves, functions, classes and constants, so also the cohort that the trial builds.
    Comments, docstrings and blank lines do not count.
    """
    return _digest_of_all(frozenset(type(component) for component in config.components(protocol=False)))


def component_hashes(config: Config) -> dict[str, str]:
    """The part of :func:`source_hash` that each component has, by its name: which of them a later version changed."""
    classes: set[type] = {type(component) for component in config.components(protocol=False)}
    return {component_name(cls): _reached_digest(cls)[:COMPONENT_DIGITS] for cls in classes}


def provenance_of(config: Config) -> dict[str, Any]:
    """What :func:`collect` says, and the ``components`` of a trial with the digests of their source."""
    return collect() | {"components": component_hashes(config)}


def device_kind(device: str) -> str:
    """The hardware behind a torch device, as far as it can change a number: ``cpu:<model>``, ``cuda:<model>``.

    :raises ValueError: for a GPU that this machine lacks.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return f"{kind}:{_cpu_model()}"
    import torch  # late: only a run on a GPU needs it

    count = torch.cuda.device_count()
    if int(index or 0) >= count:
        raise ValueError(f"{device}: this machine has {count} CUDA GPUs")
    return f"cuda:{torch.cuda.get_device_name(int(index or 0))}"


@cache
def _collected() -> dict[str, Any]:
    commit, diff = _git_state()
    return {
        "commit": commit,
        "dirty": None if commit is None else diff is not None,
        "diff": diff,
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        "hostname": platform.node(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
    }


def _git_state() -> tuple[str | None, str | None]:
    """The commit, and a digest of what differs from it (None when nothing does); both None outside git.

    Untracked Python files count: a task that is not yet committed decides results too.
    """
    top = _git("rev-parse", "--show-toplevel")
    commit = _git("rev-parse", "HEAD")
    # An installed package may lie inside a checkout of something else, whose commit says nothing about it.
    if not top or not commit or Path(top.decode().strip()).resolve() != CHECKOUT:
        return None, None
    changes = hashlib.sha256(_git("diff", "--binary", "HEAD") or b"")
    untracked = _git("ls-files", "-z", "--others", "--exclude-standard", "--", "*.py") or b""
    for name in filter(None, untracked.decode().split("\0")):
        changes.update(name.encode() + b"\0" + (CHECKOUT / name).read_bytes())
    clean = hashlib.sha256(b"").hexdigest()
    diff = changes.hexdigest()
    return commit.decode().strip(), None if diff == clean else diff[:20]


def _git(*arguments: str) -> bytes | None:
    """The command's output, or None where git, or a repository, is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(CHECKOUT), *arguments], capture_output=True, timeout=GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def _cpu_model() -> str:
    """The processor's name, as the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


@cache
def _digest_of_all(classes: frozenset[type]) -> str:
    return digest(sorted(map(_reached_digest, classes)))


@cache
def _reached_digest(cls: type) -> str:
    """A digest of the source of a class and of everything of ours, or from beside it, that it reaches."""
    sources: dict[str, str] = {}
    waiting: list[Any] = [cls]
    while waiting:
        item = waiting.pop()
        name = f"{item.__module__}.{item.__qualname__}"
        if name in sources:
            continue
        sources[name], reached = _source_of(item)
        waiting += [used for used in reached if _counts_for(cls, used) and not _is_other_component(used, cls)]
    # Without file names: files may move.
    return digest(sorted(sources.values()))


def forget_sources() -> None:
    """Read every source again: a notebook defines a function or a constant anew while its process lives."""
    for known in (_digest_of_all, _reached_digest, _source_of, _assignments):
        known.cache_clear()


def _written(item: Any) -> str:
    """The source of a class or function, that of a class in a notebook's cell too, which ``inspect`` does not find.

    :raises ConfigError: where there is none.
    """
    try:
        return inspect.getsource(item)
    except (OSError, TypeError):
        cells = list(_cells_of(item)) if isinstance(item, type) else []
    for text in cells:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.name == item.__name__:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    raise ConfigError(
        f"{item.__module__}:{item.__qualname__}: its source cannot be read, by which trials are known to be made by "
        "the same code; must be defined in a file, or a cell of a notebook"
    )


def _cells_of(cls: type) -> Iterator[str]:
    """What may define a class: the cell of one of its methods; for a class without any, the newest cells first."""
    codes = [code for name in vars(cls) if (code := getattr(vars(cls)[name], "__code__", None)) is not None]
    names = [code.co_filename for code in codes if code.co_filename in linecache.cache]
    for name in names or reversed(list(linecache.cache)):
        text = "".join(linecache.getlines(name))
        with suppress(SyntaxError):
            ast.parse(text)
            yield text


@cache
def _source_of(item: Any) -> tuple[str, list[Any]]:
    """The source of a class or function with the constants that it names, and the classes and functions that it names.

    Parsing takes a millisecond a class, and most components reach the same ones.
    """
    source = textwrap.dedent(_written(item))
    constants, reached = set(), []
    for name, used in _references(ast.parse(source), vars(sys.modules[item.__module__])):
        if isinstance(used, type | types.FunctionType):
            reached.append(used)
        elif text := _constant(name, used, item.__module__):
            constants.add(f"{name}: {text}")
    return "\n".join([_normalised(source), *sorted(constants)]), reached


def _counts_for(cls: type, item: Any) -> bool:
    """Whether a class or function decides what a component does: one of ours, or one that lies beside the component."""
    top, _, rest = item.__module__.partition(".")
    if top == HOUSE:
        return rest.rpartition(".")[2] not in NOT_THE_PATH
    return are_beside(cls.__module__, item.__module__)


def _is_other_component(item: Any, cls: type) -> bool:
    """Whether only a field's type or default names this component; the trial's own components count by themselves."""
    return isinstance(item, type) and issubclass(item, Config) and not issubclass(cls, item)


def _references(tree: ast.AST, namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every global that the code names, directly or as an attribute of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in namespace:
            yield node.id, namespace[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = namespace.get(node.value.id)
            if isinstance(owner, types.ModuleType) and hasattr(owner, node.attr):
                yield f"{node.value.id}.{node.attr}", getattr(owner, node.attr)


def _constant(name: str, value: Any, module: str) -> str:
    """A number or a string as it is; anything else as the module's source writes it (a ``repr`` may hold an address);
    empty for what another module defines."""
    if isinstance(value, bool | int | float | str):
        return repr(value)
    return _assignments(sys.modules[module]).get(name, "")


@cache
def _assignments(module: types.ModuleType) -> dict[str, str]:
    """What a module assigns, by name, as its source writes it."""
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):  # A notebook.
        return {}
    found: dict[str, str] = {}
    for statement in ast.parse(source).body:
        targets = [*getattr(statement, "targets", ()), getattr(statement, "target", None)]
        names = {node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)}
        for name in names - found.keys():
            found[name] = _normalised(ast.get_source_segment(source, statement) or "")
    return found


def _normalised(source: str) -> str:
    """The source without docstrings, comment lines and blank lines.

    The lines are taken from the text itself, for ``ast.unparse`` writes the same code differently in each Python.
    """
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    last = statement.end_lineno or statement.lineno
                    lines[statement.lineno - 1 : last] = [""] * (last - statement.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
