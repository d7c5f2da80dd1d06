"""The lock files: what pyproject.toml asks for is pinned within its range, with hashes, and no index is named."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUN, DEVELOP = ((ROOT / name).read_text() for name in ("requirements.lock", "requirements-dev.lock"))


def pinned(text):
    """Versions by name (a fork of Python's versions has several), and the hashes that each line allows."""
    versions, hashes = {}, {}
    for requirement, block in re.findall(r"^([a-z0-9].*?) \\\n((?:    --hash=.*\n)+)", text, flags=re.MULTILINE):
        parsed = Requirement(requirement)
        (specifier,) = parsed.specifier
        assert specifier.operator == "=="
        versions.setdefault(parsed.name, []).append(specifier.version)
        hashes[requirement] = re.findall(r"--hash=sha256:([0-9a-f]{64})\b", block)
    return versions, hashes


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    ("asked", "text"),
    [(PROJECT["dependencies"] + EXTRAS["cluster"], RUN), (EXTRAS["dev"] + EXTRAS["postgresql"], DEVELOP)],
    ids=["to run", "to develop"],
)
def test_every_direct_dependency_is_locked_within_its_range(asked, text):
    versions, _ = pinned(text)
    for requirement in map(Requirement, asked):
        locked = versions.get(normal(requirement.name))
        assert locked, f"{requirement.name} is not locked: run .ci/lock"
        outside = [version for version in locked if version not in requirement.specifier]
        assert not outside, f"{requirement} is locked as {outside}: run .ci/lock"


def test_every_line_has_hashes_and_nothing_names_an_index():
    for text in (RUN, DEVELOP):
        _, hashes = pinned(text)
        assert len(hashes) == len(re.findall(r"^[a-z0-9].*==", text, flags=re.MULTILINE))
        assert all(hashes.values())
        assert not re.search(r"://|^ *-(?!-hash)|[ =]/", text, flags=re.MULTILINE)


def test_what_only_developers_need_is_apart():
    run, develop = pinned(RUN)[0], pinned(DEVELOP)[0]
    assert not set(run) & set(develop)
    assert {"pytest", "ruff", "mypy", "moto"} <= set(develop)


def test_the_build_takes_nothing_that_is_not_locked():
    """The cluster installs without build isolation."""
    versions, _ = pinned(RUN)
    for requirement in map(
        Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    ):
        assert set(versions[requirement.name]) <= set(requirement.specifier.filter(versions[requirement.name]))
