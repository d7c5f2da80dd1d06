"""Errors in one line, and addresses and texts without their secrets."""

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainables.engine.errors import CommandLine, GrokscapeError, holds_secret, one_line, redact, redact_text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://token@host:5000/path", "http://host:5000/path"),
        ("s3://KEY:SE/CRET@bucket/ledger", "s3://bucket/ledger"),
        ("postgresql://user:p@ss@host/runs", "postgresql://host/runs"),
        (
            "postgresql://user:se%40c%2Fret@one:5432,two:5432/runs?sslmode=require",
            "postgresql://one:5432,two:5432/runs",
        ),
        ("postgresql://host/runs?password=secret", "postgresql://host/runs"),
        ("postgresql://host/runs?options=-c%20secret", "postgresql://host/runs"),
        ("https://bucket.s3.amazonaws.com/a?X-Amz-Signature=secret", "https://bucket.s3.amazonaws.com/a"),
        ("sqlite+pysqlcipher://:secret@/runs.db", "sqlite+pysqlcipher:///runs.db"),
        ("abfss://container:secret@account.dfs.core.windows.net/a", "abfss://container@account.dfs.core.windows.net/a"),
        # It can be read in two ways.
        ("postgresql://host/runs?password=se@cret", "postgresql://..."),
        ("postgresql://user:se?cret@host/runs", "postgresql://..."),
        ("postgresql://user:12/secret@host/runs", "postgresql://..."),
        ("postgresql:///user:secret@host/runs", "postgresql://..."),
        ("s3://KEY:se@c/ret@bucket/ledger", "s3://..."),
        ("http://user:secret%40host/path", "http://..."),
        # Without a scheme.
        ("user:secret@host:5000/path", "...@host:5000/path"),
        ("/made/absolute/user:secret@host/path", "/made/absolute/...@host/path"),
        ("postgresql:/user:secret@host/runs", "...@host/runs"),
        ("host=db user=me password='se cret' dbname=runs", "host=db user=me password=*** dbname=runs"),
        # No secret.
        ("s3://bucket/ledger", "s3://bucket/ledger"),
        ("s3://bucket/user@host/a@b", "s3://bucket/user@host/a@b"),
        ("http://[::1]:5000/path", "http://[::1]:5000/path"),
        ("sqlite:///results/mlflow.db?key=secret", "sqlite:///results/mlflow.db"),
        ("sqlite:///a#b/user@host/mlflow.db", "sqlite:///a#b/user@host/mlflow.db"),
        ("file:///data/user@host/a?b/ledger", "file:///data/user@host/a?b/ledger"),
        ("/data/user@host/a:b/ledger", "/data/user@host/a:b/ledger"),
    ],
)
def test_redact(address, shown):
    assert redact(address) == shown
    if "://" in address:
        assert redact_text(f"MLflow at {address}: not there") == f"MLflow at {shown}: not there"


@given(
    st.sampled_from(["http", "s3", "postgresql", "postgresql+psycopg", "gs", "abfss", "ftp"]),
    st.text("abcXYZ019._-", min_size=1, max_size=8),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=20),
    st.sampled_from(["bucket", "host:5000", "[::1]:9", "a.b.c"]),
    st.sampled_from(["", "/", "/a/b", "/a@b", "/a?region=eu", "/a?x=y@z", "/a#b"]),
)
def test_no_part_of_a_password_is_ever_shown(scheme, user, password, host, path):
    """Neither raw, with whatever an address may not contain, nor encoded; parts of five characters count."""
    for secret in (password, quote(password, safe="")):
        address = f"{scheme}://{user}:{secret}@{host}{path}"
        parts = {secret[n : n + 5] for n in range(len(secret) - 4)}
        assume(not any(part in f"{scheme}://{user}@{host}{path}..." for part in parts))
        assert not [part for part in parts if part in redact(address)]
        assert secret not in redact_text(f"no {address} with {secret}", address)


def test_texts_hide_what_a_name_calls_secret(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalr/secret")
    monkeypatch.setenv("DB_PASSWORD", "test")  # too short to be told from a word
    text = """{'MLFLOW_TRACKING_PASSWORD': 'se"cret', "n": 1} token=secret, "sig": "secret" secret_key: 'se cret'
    Authorization: Basic c2VjcmV0 X-Amz-Security-Token=secret AccountKey=secret; a test of wJalr/secret"""
    assert one_line(ValueError(text)) == (
        """{'MLFLOW_TRACKING_PASSWORD': ***, "n": 1} token=***, "sig": *** secret_key: *** """
        "Authorization: Basic *** X-Amz-Security-Token=*** AccountKey=***; a test of ***"
    )
    assert str(GrokscapeError("--from s3://KEY:secret@bucket/x: no")) == "--from s3://bucket/x: no"
    plain = "context_tokens=64: must be at most 32; train.token: no such file; http(s)://HOST:PORT, postgresql://..."
    assert redact_text(plain) == plain
    monkeypatch.setenv("PWD", "/home/user/folder")  # the shell's folder
    assert redact_text("results/folder/tiny.py: no such file") == "results/folder/tiny.py: no such file"


def test_an_address_in_use_is_hidden_decoded_too():
    address = "postgresql://user:se%40cret1@host/runs?sslpassword=secret2&sslmode=require"
    text = "no password 'se@cret1' or se%40cret1, secret2; sslmode require; user of host"
    assert redact_text(text, address) == "no password '***' or ***, ***; sslmode require; user of host"
    error = OSError("cannot open\n's3://key:secret@bucket/x'")
    assert one_line(error, address="s3://key:secret@bucket/x") == "cannot open 's3://bucket/x'"


def test_which_addresses_hold_a_secret():
    held = ["s3://KEY:secret@bucket/a", "http://token@host", "s3://bucket/a?secret_key=b", "s3://KEY:se?cret@bucket"]
    plain = ["s3://bucket/a@b", "s3://bucket/a?region=eu&scheme=http", "a/b.parquet", "/data/user:x@host", "a#b?c"]
    assert [holds_secret(address) for address in (*held, *plain)] == [True] * len(held) + [False] * len(plain)


def test_a_bad_command_line_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        CommandLine(prog="prog").parse_args(["--ledgr=http://user:secret@host/a", "u:secret@host", "PWD%3Dsecret"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "error: unrecognized arguments: --ledgr=http://host/a ...@host PWD%3D*** (see --help)\n"
    )


def test_a_flag_with_a_typo_gets_the_nearest(capsys):
    parser = CommandLine(prog="prog")
    parser.add_argument("--ledger")
    parser.add_subparsers().add_parser("show").add_argument("--where")
    for flags, near in ((["--ledgre=a"], "--ledger"), (["show", "--were", "b"], "--where")):
        with pytest.raises(SystemExit):
            parser.parse_args(flags)
        assert capsys.readouterr().err.endswith(f"; did you mean {near}? (see --help)\n")


def test_one_line():
    assert one_line(ValueError("first\n  second\tthird")) == "first second third"
    assert one_line(ValueError("x" * 1000), 10) == "x" * 10
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"
