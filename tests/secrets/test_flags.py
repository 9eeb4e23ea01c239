"""The security flags: on where it counts, and off in production only by name."""

import pytest

from core.errors import ConfigurationError
from core.settings import SECURITY_FLAGS, load_settings


def test_development_is_convenient_and_production_strict():
    assert load_settings(environment="test").flags_off == ("REQUIRE_HTTPS", "SECURE_COOKIES")
    assert load_settings(environment="production").flags_off == ()


@pytest.mark.parametrize("flag", SECURITY_FLAGS)
def test_production_does_without_a_guard_only_by_name(monkeypatch, flag):
    monkeypatch.setenv("MANNA_ENVIRONMENT", "production")
    monkeypatch.setenv(flag, "false")
    with pytest.raises(ConfigurationError, match=f"^{flag} is off in production; accepted is true, or name it in"):
        load_settings()
    monkeypatch.setenv("MANNA_ACCEPT_RISK", f" {flag} ,REDIS_TLS")
    assert load_settings().flags_off == (flag,)


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("MANNA_ACCEPT_RISK", "EVERYTHING", "MANNA_ACCEPT_RISK names 'EVERYTHING'; accepted are FIELD_ENCRYPTION"),
        ("REQUIRE_HTTPS", "perhaps", "REQUIRE_HTTPS is neither yes nor no; accepted are true and false"),
        (
            "MANNA_ENVIRONMENT",
            "prod",
            "MANNA_ENVIRONMENT is unknown; accepted are 'development', 'test' or 'production'",
        ),
    ],
)
def test_a_wrong_flag_is_one_line(monkeypatch, variable, value, line):
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert str(refused.value).startswith(line)


def test_settings_show_no_password():
    shown = repr(load_settings(database_url="postgresql://u:hunter2@db/manna", redis_url="redis://:hunter2@redis/0"))
    assert "hunter2" not in shown
