"""Errors in one line, and addresses without their secrets."""

import pytest

from trainables.engine.errors import one_line, redact


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://token@host:5000/path", "http://host:5000/path"),
        ("s3://KEY:SE/CRET@bucket/ledger", "s3://bucket/ledger"),
        ("postgresql://user:p@ss@host/runs", "postgresql://host/runs"),
        ("postgresql://host/runs?password=secret", "postgresql://host/runs"),
        ("postgresql://host/runs?password=se@cret", "postgresql://..."),
        ("postgresql://user:se?cret@host/runs", "postgresql://..."),
        ("s3://bucket/ledger", "s3://bucket/ledger"),
        ("sqlite:///results/mlflow.db?key=secret", "sqlite:///results/mlflow.db"),
        ("file:///data/user@host/ledger", "file:///data/user@host/ledger"),
        ("/data/user@host/ledger", "/data/user@host/ledger"),
    ],
)
def test_redact(address, shown):
    assert redact(address) == shown


def test_one_line():
    assert one_line(ValueError("first\n  second\tthird")) == "first second third"
    assert one_line(ValueError("x" * 1000), 10) == "x" * 10
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"
    error = OSError("cannot open\n's3://key:secret@bucket/x'")
    assert one_line(error, address="s3://key:secret@bucket/x") == "cannot open 's3://bucket/x'"
