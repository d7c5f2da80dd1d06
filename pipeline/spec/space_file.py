"""Run a search-space file and return its ``SWEEP``, or say in one line why it has none.

A file exports one ``SWEEP = SweepSpec(...)``, or the same question in two sizes,
``SWEEP = {"full": SweepSpec(...), "laptop": SweepSpec(...)}``: the whole, and what a laptop can do of it.
It may import from its own folder too, for example the user's own components.
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import inspect
import itertools
import re
import shlex
import sys
import traceback
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from pipeline.spec import SpecError, SweepSpec
from pipeline.spec.override_values import seeds_label, seeds_text
from pipeline.spec.overrides import Overrides
from pipeline.spec.rounding import rounding_notes
from trainables.engine.config import ConfigError, brief
from trainables.engine.errors import one_line
from trainables.engine.names import forget, outside
from trainables.engine.terminal import shown
from trainables.runtime.own_modules import INSTALLED, import_modules

__all__ = ["DEFAULT_SIZE", "SIZES", "LoadedSpace", "load_space"]

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,98}[A-Za-z0-9_-])?")
"""Of a file; a ledger's names are longer, for :meth:`LoadedSpace.with_overrides`."""
SIZES = ("full", "laptop")
DEFAULT_SIZE = "laptop"
KEYWORD_ERROR = re.compile(r"([\w.]+)\.__init__\(\) (got an unexpected keyword argument|missing \d+ required)")


@dataclass(frozen=True)
class LoadedSpace:
    """A search space and its file."""

    name: str
    """Of the sweep in the ledger and in MLflow: the file's without ``.py``, with ``_<size>`` where there are sizes, and
    ``@steps<N>-seeds<N>`` where flags change its extent."""
    doc: str
    """The docstring at the top of the file, dedented; empty where there is none."""
    revision: str
    """SHA-256 of the file's text."""
    spec: SweepSpec
    path: Path
    size: str | None = None
    """One of :data:`SIZES`; None for a file without sizes."""
    components: tuple[str, ...] = ()
    """Modules that were imported before, as ``--components`` names them."""
    changed: bool = False
    """Whether flags make another sweep of it than the file's."""

    def with_overrides(
        self,
        *,
        max_steps: int | None = None,
        seeds: int | Sequence[int] | None = None,
        overrides: Overrides | None = None,
        name: str | None = None,
    ) -> "LoadedSpace":
        """The space as flags change it, which is a sweep of its own name beside the whole one.

        Its docstring is the file's question, what was changed, and the command; the file's results are not its own.

        :param name: of the sweep; without, the file's and what was changed.
        """
        overrides = overrides or Overrides()
        spec = overrides.apply(self.spec)
        labels = [(overrides.label(spec.base), overrides.words(), overrides.flags)] if overrides else []
        longest = max({trial.config.horizon_steps for trial in spec.trials()} or {spec.base.horizon_steps})
        if max_steps is not None and max_steps < longest:
            labels.append((f"steps{max_steps}", f"{max_steps} steps", ("--max-steps", str(max_steps))))
        own, spec = spec.seeds, spec.with_overrides(max_steps=max_steps, seeds=seeds)
        if spec.seeds is not None and spec.seeds != own:
            flag = ("--seeds", seeds_text(spec.seeds))
            labels.append((seeds_label(spec.seeds), f"{len(spec.seeds)} seeds", flag))
        if name is not None and not NAME.fullmatch(name):
            raise SpecError(f"--name {brief(name)}: must be at most 100 letters, digits, '_', '-' and inner dots")
        if not labels and name is None:
            return self
        names, words, flags = zip(*labels, strict=True) if labels else ((), (), ())
        typed = ["--size", self.size] if self.size not in (None, DEFAULT_SIZE) else []
        typed += [word for module in self.components for word in ("--components", module)]
        typed += [*itertools.chain(*flags), *(["--name", name] if name else [])]
        command = shlex.join(["python", "-m", "pipeline.sweep", str(self.path), *map(str, typed)])
        doc = self.doc
        if labels:
            # The record of the file's results is not that of this sweep.
            question = overrides.question(re.split(r"(?m)^\w+ {2,}", self.doc)[0].strip(), self.name)
            doc = f"{question}\n\nChanged   {'; '.join(words)}\nCommand   {command}"
        return replace(self, name=name or f"{self.name}@{'-'.join(names)}", doc=doc, spec=spec, changed=bool(labels))

    def notes(self) -> list[str]:
        """What the user should know of it before it runs, a line each."""
        axes = [self.spec.grid_axes(), *(arm.axes for arm in self.spec.arms)]
        whole, at, _ = self.name.partition("@")
        other = [f"flags change the file's sweep: this is {self.name}, beside {whole}; trials that both have run once"]
        return [*(other if self.changed and at and self.path.suffix == ".py" else []), *rounding_notes(axes)]


def load_space(path: str | Path, size: str | None = None, components: Iterable[str] = ()) -> LoadedSpace:
    """Run a search-space file and take its ``SWEEP``.

    What the file prints goes to standard error, to keep standard output for the sweep.  Its folder stays on
    the path.

    :param size: one of :data:`SIZES`, for a file that has them; :data:`DEFAULT_SIZE` without.
    :param components: modules to import before, as ``--components`` names them.
    :raises SpecError: the file is missing or unreadable, fails (with the line), defines a component under a name
        that workers cannot import, has no ``SWEEP`` of the right kind, or has no sizes although ``size`` is given.
    """
    file = Path(path)
    try:
        source = file.read_bytes()
    except OSError as error:
        beside = (other.stem for other in file.parent.glob("*.py")) if not file.exists() else ()
        near = get_close_matches(file.stem, beside, n=1)
        hint = f"; did you mean {file.with_name(near[0] + '.py')}?" if near else ""
        raise SpecError(
            f"{path}: cannot be read ({error.strerror}); must be a search-space file, or MODULE:TRIAL{hint}"
        ) from None
    if file.suffix != ".py" or not NAME.fullmatch(file.stem):
        raise SpecError(
            f"{path}: the file's name becomes the sweep's; must end in .py and have at most 100 letters, digits, '_', "
            "'-' and inner dots"
        )
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import_modules(components, folders=[str(file.parent.resolve())])
    except ImportError as error:
        raise SpecError(str(error)) from None
    module = _module(file)
    # Dataclasses, type hints and pickle look for it there, now and later.
    sys.modules[module.__name__] = module
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(compile(source, str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # A file can raise anything; all of it is bad input.
        del sys.modules[module.__name__]
        forget(module.__name__)
        raise SpecError(_message(file, error, vars(module))) from None
    own = [cls for cls in outside() if cls.__module__ == module.__name__]
    if own and module.__spec__ is None:
        forget(module.__name__)
        raise SpecError(
            f"{path}: defines {own[0].__name__} itself, which workers import by the file's name, and {file.stem!r} is "
            f"{'the name of another module' if file.stem.isidentifier() else 'no name of a module'}: rename the file, "
            f"or move {own[0].__name__} to a module beside it"
        )
    if not own:
        module.__spec__ = None  # Workers need nothing of it.
    if "SWEEP" not in vars(module):
        raise SpecError(f"{path}: defines no SWEEP; must define SWEEP = SweepSpec(...)")
    spec, size = _sized(file, vars(module)["SWEEP"], size)
    return LoadedSpace(
        name=file.stem if size is None else f"{file.stem}_{size}",
        doc="\n".join(map(shown, inspect.cleandoc(module.__doc__ or "").split("\n"))),
        revision=hashlib.sha256(source).hexdigest(),
        spec=spec,
        path=file,
        size=size,
        components=tuple(components),
    )


def _module(file: Path) -> types.ModuleType:
    """A new module for a file: by the file's name, under which workers can import it, where no other has that name."""
    spec = None
    if file.stem.isidentifier():
        if getattr(sys.modules.get(file.stem), "__file__", None) == str(file.resolve()):
            del sys.modules[file.stem]  # Loaded before.
        importlib.invalidate_caches()
        with contextlib.suppress(ValueError, ImportError):  # A module without a specification has the name.
            spec = importlib.util.find_spec(file.stem)
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == file.resolve():
        return importlib.util.module_from_spec(spec)
    module = types.ModuleType(f"search_space_{re.sub('[^A-Za-z0-9]', '_', file.stem)}")
    module.__file__ = str(file)
    return module


def _sized(file: Path, sweep: object, size: str | None) -> tuple[SweepSpec, str | None]:
    """Select the space of a size; return the size too, or None where there are no sizes."""
    if size is not None and size not in SIZES:
        raise SpecError(f"size {size!r}: must be one of {', '.join(SIZES)}")
    if isinstance(sweep, SweepSpec):
        if size is not None:
            raise SpecError(f"{file}: has no sizes: drop --size {size}")
        return sweep, None
    if not isinstance(sweep, Mapping):
        raise SpecError(f"{file}: SWEEP is of type {type(sweep).__name__}; must be a SweepSpec")
    if set(sweep) != set(SIZES):
        raise SpecError(f"{file}: SWEEP has the keys {', '.join(map(repr, sweep))}; must have 'full' and 'laptop'")
    for name in SIZES:
        if not isinstance(sweep[name], SweepSpec):
            raise SpecError(f"{file}: SWEEP[{name!r}] is of type {type(sweep[name]).__name__}; must be a SweepSpec")
    size = size or DEFAULT_SIZE
    return sweep[size], size


def _message(file: Path, error: BaseException, names: Mapping[str, object]) -> str:
    """``file:line: what went wrong``, with the last line of the file itself that ran.

    An error in a module beside the file ends with the module's line too.
    """
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{file}:{error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    where = f"{file}:{lines[-1]}" if lines else str(file)
    text = one_line(error) if str(error) else ""
    if isinstance(error, SpecError | ConfigError):
        return f"{where}: {text}"
    if isinstance(error, TypeError) and (match := KEYWORD_ERROR.match(text)):
        named = (value for value in names.values() if isinstance(value, type) and value.__qualname__ == match[1])
        cls = next(named, None)
        if dataclasses.is_dataclass(cls):
            allowed = ", ".join(sorted(spec.name for spec in dataclasses.fields(cls) if spec.init))
            for old, new in ((".__init__()", ""), ("keyword argument", "field"), ("keyword-only ", "")):
                text = text.replace(old, new)
            return f"{where}: {text.replace('argument', 'field')}; allowed: {allowed}"
    return f"{where}: {type(error).__name__}{': ' if text else ''}{text}{_beside(file, error)}"


def _beside(file: Path, error: BaseException) -> str:
    """`` (mylosses.py:3)`` for what goes wrong in a module from the file's folder."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno))
    folder = file.parent.resolve()
    for name, line in reversed(frames):
        if name != str(file) and (place := Path(name)).is_relative_to(folder) and not INSTALLED & set(place.parts):
            return f" ({place.relative_to(folder)}:{line})"
    return ""
