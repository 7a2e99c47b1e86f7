"""Secrets are not shown: of URLs, and of the environment."""

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xling import cli
from xling.redaction import holds_secret, redacted, redacted_values, without_password


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:pw@host:5000/x", "http://me:***@host:5000/x"),
        ("cannot reach 'http://me:pw@host'", "cannot reach 'http://me:***@host'"),
        ("postgresql+psycopg2://me:p@ss/w:rd@host/db and a@b", "postgresql+psycopg2://me:***@host/db and a@b"),
        ("http://me:1234@host", "http://me:***@host"),
        ("redis://:pw@host", "redis://:***@host"),
        ("s3://b/x?a=1&X-Amz-Signature=ab%2Fc&b=2#d", "s3://b/x?a=1&X-Amz-Signature=***&b=2#d"),
        ("https://h/?sig=a&AWSAccessKeyId=b;access_token=c", "https://h/?sig=***&AWSAccessKeyId=***;access_token=***"),
    ],
)
def test_secrets_of_urls_are_left_out(text, shown):
    assert redacted(text) == shown
    assert redacted(shown) == shown
    assert holds_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/experiments/1?orderByKey=tags.x&a=b@c",
        "postgresql+psycopg2://me@host:5432/db",
        "http://[::1]:80/a@b",
        "sqlite:////home/me/a:b@c/mlflow.db",
        "s3://bucket/prefix",
        "mail me@host: it is at 10:30, see http://host:80, or ask a@b",
        "{'uri': 'http://host:80', 'a': 'x@y'}",
    ],
)
def test_what_holds_none_is_left_as_it_is(text):
    assert redacted(text) == text
    assert not holds_secret(text)


@given(st.text(st.characters(exclude_categories=("Cs", "Z", "Cc"), exclude_characters='"<>'), min_size=1))
def test_a_password_is_left_out_however_it_is_spelt(password):
    if not re.match(r"\d+([^\w.]|$)", password):  # digits and a slash are a port and a path
        assert redacted(f"at http://me:{password}!@host/x.") == "at http://me:***@host/x."
        assert without_password(f"http://me:{password}!@host/x") == "http://me@host/x"


def test_values_of_the_environment_are_left_out_by_the_names_of_their_variables(monkeypatch):
    secrets = {
        "AWS_SECRET_ACCESS_KEY": "wJalr/XUtnFEMI+K7",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "HF_TOKEN": "hf_abcdefgh",
        "MLFLOW_TRACKING_PASSWORD": "correct horse",
        "PGPASSWORD": "postgres-word",
        "MYSQL_PWD": "mysql-word",
    }
    plain = {
        "TOKENIZERS_PARALLELISM": "false-false",
        "AWS_DEFAULT_REGION": "us-east-1",
        "RAY_AUTH_TOKEN_PATH": "/a/token",
    }
    for name, value in {**secrets, **plain, "SHORT_TOKEN": "word"}.items():
        monkeypatch.setenv(name, value)
    for value in secrets.values():
        assert redacted(f"<{value}>") == "<***>"
        assert holds_secret(value)
    assert redacted("key=wJalr%2FXUtnFEMI%2BK7") == "key=***"
    for value in (*plain.values(), "word"):
        assert redacted(value) == value
    nested = {"a": ["hf_abcdefgh", 1, None], "b": {"c": ("http://me:pw@h", 2.5)}}
    assert redacted_values(nested) == {"a": ["***", 1, None], "b": {"c": ["http://me:***@h", 2.5]}}


def test_an_error_of_ours_and_a_traceback_are_printed_without(monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefgh")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", ["xling", "status", "x", "--storage", "s3://me:pw@bucket/hf_abcdefgh"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert "storage 's3://me:***@bucket/***' must be without the secret" in told
    try:
        raise RuntimeError("no answer from http://me:pw@host with hf_abcdefgh")
    except RuntimeError:
        sys.excepthook(*sys.exc_info())
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert "no answer from http://me:***@host with ***" in told
