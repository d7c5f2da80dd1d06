"""The statistics' docstrings: every public function has an example, and the examples are true."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import analysis.stats

MODULES = [f"analysis.stats.{module.name}" for module in pkgutil.iter_modules(analysis.stats.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    functions = [
        function
        for function in vars(module).values()
        if inspect.isfunction(function) and function.__module__ == name and not function.__name__.startswith("_")
    ]
    assert functions
    assert not [function.__name__ for function in functions if ">>> " not in (function.__doc__ or "")]
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0
