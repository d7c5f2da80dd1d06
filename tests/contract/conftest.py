"""The contract of components, for packages of other people too: ``--components PACKAGE``."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--components",
        action="append",
        metavar="MODULE",
        help="run test_components.py on the components of this module or package instead of ours; repeatable",
    )
