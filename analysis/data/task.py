"""What the trials of a sweep are about, in words."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def describe_task(configs: Iterable[Mapping[str, Any]]) -> str:
    """``modular addition, p 113, train fraction 0.4``: what the tasks of all these configs have in common.

    Of a baseline it is the data set and the model: ``CIFAR10, ResNet18``.
    """
    configs = list(configs)
    data = [_shared_class(configs, name) for name in ("images", "text")]
    if any(data):
        return ", ".join(filter(None, [*data, _shared_class(configs, "model")]))
    tasks = [config.get("task", {}) for config in configs]
    words = []
    for name in sorted(tasks[0]) if tasks else ():
        value = tasks[0][name]
        # Zero and nothing at all are what a task does not have: no corrupted labels, no noise.
        if isinstance(value, Mapping | list) or not value or any(task.get(name) != value for task in tasks):
            continue
        if name == "class":
            words.append(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", value.rpartition(":")[2]).lower())
        else:
            words.append(f"{name.replace('_', ' ')} {value}")
    return ", ".join(words)


def _shared_class(configs: Sequence[Mapping[str, Any]], component: str) -> str:
    """The class that a component has in all of these configs; empty where they differ, or one has no such component."""
    classes = {config.get(component, {}).get("class", "").rpartition(":")[2] for config in configs}
    return classes.pop() if len(classes) == 1 else ""
