"""What users import: every trial kind and component by its class name, and the few other names a space needs.

``from trainables import MLP, AdamW, GrokkingTrial, ModularAddition``
"""

import importlib
from typing import Any

from trainables.engine.names import find, import_house

_OTHERS = {
    "ACCURACY_EVENTS": "trainables.engine.events",
    "ACCURACY_PHASES": "trainables.engine.events",
    "LIU_2022_EVENTS": "trainables.engine.events",
    "LIU_2022_PHASES": "trainables.engine.events",
    "STANDARD": "trainables.engine.probes",
    "falls_to": "trainables.engine.events",
    "option": "trainables.engine.config",
    "rises_to": "trainables.engine.events",
}
"""The modules of the public names that are not components."""


def __getattr__(name: str) -> Any:
    if name in _OTHERS:
        return getattr(importlib.import_module(_OTHERS[name]), name)
    # Lazily, because the engine imports torch.  Names in lower case are submodules.
    if name[:1].isupper() and (component := find(name)):
        return component
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*_OTHERS, *import_house()})
