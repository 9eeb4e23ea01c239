"""`manna tokens` and `manna items remove`."""

import json

import pytest
from typer.testing import CliRunner

from cli.main import app
from core.access.signing_keys import load_signing_keys
from core.access.tokens import verify_token

runner = CliRunner()


@pytest.fixture
def manna(web_settings):
    return lambda *arguments: runner.invoke(app, arguments)


def test_a_token_is_issued_that_the_api_takes(manna):
    done = manna("tokens", "issue", "--subject", "ops", "--scope", "items:read", "--scope", "audit:read", "--json")
    assert done.exit_code == 0, done.output
    principal = verify_token(load_signing_keys(), json.loads(done.stdout)["token"])
    assert (principal.subject, sorted(principal.scopes)) == ("ops", ["audit:read", "items:read"])


@pytest.mark.parametrize(
    ("option", "value"), [("--ttl", "1y"), ("--ttl", "91d"), ("--scope", "planets:write"), ("--subject", " ")]
)
def test_a_wrong_option_is_told_what_is_accepted(manna, option, value):
    given = {"--subject": "ops", "--scope": "items:read"} | {option: value}
    done = manna("tokens", "issue", *(word for pair in given.items() for word in pair))
    assert done.exit_code == 2
    assert "Error" in done.stderr


def test_nothing_is_removed_without_a_yes(manna):
    done = manna("items", "remove", "0199f3c1-6f0a-7c41-9d3e-2b6c8f0a1d22")
    assert done.exit_code == 1
