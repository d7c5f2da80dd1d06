"""Modules of the user: the components that lie beside a search space, on their way to the workers.

The driver imports them, because the space does; a job names those that its trials need, and the worker imports them
before it reads the trials.  On this machine their folders go along; to another machine Ray carries the files.
"""

import importlib
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from trainables.engine.config import ConfigError
from trainables.engine.errors import one_line
from trainables.engine.names import HOUSE, outside

INSTALLED = {"site-packages", "dist-packages"}
"""Folders whose content a worker has installed, as it has torch."""
MAIN = "__main__"
"""The module of a script, or of a notebook."""
OURS = {HOUSE, "pipeline", "analysis", "search_spaces"}


def own_modules(classes: Iterable[type]) -> tuple[str, ...]:
    """The modules outside the house that define these components, sorted."""
    return tuple(sorted({cls.__module__ for cls in classes if cls.__module__.partition(".")[0] != HOUSE}))


def import_modules(names: Iterable[str], folders: Iterable[str] = ()) -> None:
    """Import modules, so that their components have names here too.

    :param folders: where they may lie; the last on the path, so that they shadow nothing.
    :raises ImportError: in one line, whatever goes wrong.
    """
    sys.path += [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # A module can raise anything.
            reason = one_line(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {one_line(error)}"
            raise ImportError(f"module {name} is not importable on {platform.node()}: {reason}") from error


def check_importable(classes: Iterable[type]) -> None:
    """Make sure that workers can import the modules of these components.

    :raises ConfigError: for one that a script or a notebook defines itself.
    """
    for cls in classes:
        if cls.__module__ == MAIN:
            file = getattr(sys.modules[MAIN], "__file__", None)
            where, beside = (os.path.basename(file), "script") if file else ("this notebook", "notebook")
            raise ConfigError(
                f"{cls.__qualname__} is defined in {where}, from which workers cannot import it: move it to a file "
                f"beside the {beside} and import it from there, or pass local=True"
            )


def folders_of(modules: Iterable[str]) -> tuple[str, ...]:
    """The folders from which imported modules came, sorted."""
    return tuple(sorted({str(place.parent) for name in modules if (place := _place(name))}))


def files_to_ship() -> tuple[str, ...]:
    """What a worker on another machine needs for every component of the user: files and package folders, sorted.

    They are the modules that define components, and the other modules that were imported from beside them.
    """
    folders = {Path(folder) for folder in folders_of(cls.__module__ for cls in outside())}
    folders = {folder for folder in folders if folder.name not in INSTALLED}
    # What has no specification (a search space, a script) is nothing that a worker could import.
    modules = [name for name, module in list(sys.modules.items()) if getattr(module, "__spec__", None)]
    imported = {name for name in modules if "." not in name} - OURS - {MAIN}
    places = {place for name in imported if (place := _place(name)) and place.parent in folders}
    return tuple(sorted(str(place) for place in places if place.is_dir() or place.suffix == ".py"))


def are_beside(module: str, other: str) -> bool:
    """Whether two imported modules are of one package, or from one folder that is not where packages are installed."""
    if module.partition(".")[0] == other.partition(".")[0]:
        return True
    folders = {place.parent if (place := _place(name)) else None for name in (module, other)}
    return len(folders) == 1 and all(folder and folder.name not in INSTALLED for folder in folders)


def _place(module: str) -> Path | None:
    """The file of an imported module, or the folder of its outermost package; None for what has neither."""
    top = sys.modules.get(module.partition(".")[0])
    if module == MAIN and not hasattr(top, "__file__"):
        return Path.cwd() / MAIN  # A notebook, beside the modules that it imports from its folder.
    place = next(iter(getattr(top, "__path__", ())), getattr(top, "__file__", None))
    return Path(os.path.abspath(place)) if place else None
