"""What users import: every trial kind and component by its class name, and what they are put together with.

``from trainables import MLP, AdamW, GrokkingTrial, ModularAddition``
"""

import importlib
from typing import Any

from trainables.engine.names import import_house

_OTHERS = {
    "ACCURACY_EVENTS": "trainables.engine.events",
    "ACCURACY_PHASES": "trainables.engine.events",
    "STANDARD": "trainables.engine.probes",
    "falls_to": "trainables.engine.events",
    "rises_to": "trainables.engine.events",
}
"""Public names that are not components, by their modules."""


def __getattr__(name: str) -> Any:
    if name in _OTHERS:
        return getattr(importlib.import_module(_OTHERS[name]), name)
    # Lazily: the engine takes torch along.  Names in lower case are submodules.
    if name[:1].isupper() and name in (components := import_house()):
        return components[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*_OTHERS, *import_house()})
