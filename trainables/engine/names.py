"""The names of components: what JSON, ledgers and trial ids hold, whichever file a class lies in.

A component of the house goes by its class name alone (``AdamW``), unique over the house; one of another package is
``package.module:Class``.  A name leads to a class only if that class is one of the house's own or was imported
already: nothing is ever imported because a ledger, a checkpoint or MLflow names it.
"""

import importlib
import pkgutil

HOUSE = "trainables"
"""The package whose components go by their class names."""
_ROOMS = ("engine", "data", "baselines", "neighbours", "grokking")
"""Where in the house components are defined; the rest runs them."""

_classes: dict[str, type] = {}


def component_name(cls: type) -> str:
    """The name of a component: ``AdamW``, or ``package.module:Class`` outside the house."""
    if cls.__module__.partition(".")[0] == HOUSE:
        return cls.__qualname__
    return f"{cls.__module__}:{cls.__qualname__}"


def register(cls: type) -> None:
    """Make a class known by its name; a later one of the same name (a module that is loaded again) replaces it."""
    _classes[component_name(cls)] = cls


def find(name: str) -> type | None:
    """The class of that name, or None where the house has none and no imported module defines it."""
    if name not in _classes and ":" not in name:
        import_house()
    return _classes.get(name)


def outside() -> list[type]:
    """The components of other packages that were imported so far."""
    return [cls for name, cls in _classes.items() if ":" in name]


def forget(module: str) -> list[type]:
    """Drop the components that a module defined, because nobody else can import it; return them."""
    return [_classes.pop(name) for name in list(_classes) if name.startswith(f"{module}:")]


def import_house() -> dict[str, type]:
    """Import every module of the house that defines components; return them by name."""
    house = importlib.import_module(HOUSE)
    for module in pkgutil.walk_packages(house.__path__, f"{HOUSE}."):
        if module.name.split(".")[1] in _ROOMS:
            importlib.import_module(module.name)
    return {name: cls for name, cls in _classes.items() if ":" not in name}
