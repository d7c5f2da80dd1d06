"""``from trainables import MLP`` is lazy, so type checkers and editors read a stub; it lists what there is.

``python -m tests.contract.test_public_names`` writes it again.
"""

from pathlib import Path

import trainables
from trainables.engine.names import import_house

HEAD = "# Written by python -m tests.contract.test_public_names.\n# ruff: noqa: I001"
STUB = Path(trainables.__file__).with_suffix(".pyi")


def stub() -> str:
    components = {name: cls.__module__ for name, cls in import_house().items()}
    modules = components | trainables._OTHERS
    lines = sorted(f"from {module} import {name} as {name}" for name, module in modules.items())
    return "\n".join([HEAD, *lines, ""])


def test_the_stub_lists_the_public_names():
    assert STUB.read_text(encoding="utf-8") == stub(), "python -m tests.contract.test_public_names writes it again"
    assert [name for name in dir(trainables) if not hasattr(trainables, name)] == []


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
