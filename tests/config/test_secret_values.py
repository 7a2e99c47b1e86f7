"""A sweep file with a secret is refused, and the refusal does not show it."""

import pytest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "tracking: {uri: 'http://me:pw9@host:5000'}",
            "tracking.uri is 'http://me:***@host:5000', must be without the secret, since the file is kept with the "
            "results; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, for a "
            "server, PGPASSWORD for PostgreSQL",
        ),
        ("storage: 's3://key:pw9@bucket/runs'", "storage is 's3://key:***@bucket/runs', must be without the secret"),
        ("evaluation: {run_files: 'http://a:pw9@b'}", "evaluation.run_files is 'http://a:***@b', must be "),
        ("grid: [{model.query_prefix: ['', 'a?sig=pw9']}]", "model.query_prefix is 'a?sig=***', must be without the"),
    ],
)
def test_it_is_refused_and_not_shown(sweeps, text, said):
    problems = "\n".join(sweeps.problems(sweeps.base + text + "\n"))
    assert said in problems
    assert "pw9" not in problems


def test_what_a_variable_brings_in_is_refused_too(sweeps, monkeypatch):
    monkeypatch.setenv("BUCKET", "s3://key:pw9@bucket")
    (problem,) = sweeps.problems(sweeps.base + "storage: $BUCKET/runs\n")
    assert "storage is 's3://key:***@bucket/runs'" in problem


def test_an_override_is_refused_and_not_shown(sweeps):
    (problem,) = sweeps.problems(sweeps.base, "tracking.uri=http://me:pw9@host")
    assert problem.startswith("--set: tracking.uri is 'http://me:***@host', must be without the secret")


def test_what_an_override_replaces_does_not_count(sweeps):
    text = sweeps.base + "tracking: {uri: 'http://me:pw9@host:5000'}\n"
    assert sweeps.load(text, "tracking.uri=http://host:5000").config.tracking.uri == "http://host:5000"
