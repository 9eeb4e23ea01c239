"""Each check passes on a healthy installation, and one change makes it fail."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import sqlalchemy

from core.encryption import EncryptionKeyProvider
from core.models import PlaidItem
from core.secrets.values import SecretValues
from core.settings import PlaidEnvironment
from scripts import validate_security
from scripts.validation import CHECKS, Severity, Status, judge
from tests.conftest import ROOT
from tests.scripts.conftest import HEADERS, SECRETS


def settings(**update):
    return lambda found: replace(found, settings=found.settings.model_copy(update=update))


def secrets(**update):
    return lambda found: replace(found, secrets=SecretValues.of({**SECRETS, **update}))


def part(name, **update):
    return lambda found: replace(found, **{name: replace(getattr(found, name), **update)})


def parameter(name, **update):
    def change(found):
        facts = getattr(found, name)
        return replace(found, **{name: replace(facts, parameters={**facts.parameters, **update})})

    return change


def celery(**update):
    return lambda found: replace(found, celery={**found.celery, **update})


def gone(name):
    return lambda found: replace(found, **{name: None})


def header(name, value=""):
    return part("web", live_headers={**HEADERS, name: value})


def installed(**update):
    def change(found):
        names = {name.replace("_", "-"): version for name, version in update.items()}
        return replace(found, locks=replace(found.locks, installed={**found.locks.installed, **names}))

    return change


def both(*changes):
    def change(found):
        for each in changes:
            found = each(found)
        return found

    return change


BREAKS = {
    "settings.readable": lambda found: replace(
        found, settings=None, settings_problem="REDIS_URL has an unknown scheme"
    ),
    "settings.environment_named": lambda found: replace(found, environ={}),
    "settings.no_risk_accepted": settings(accept_risk=("REDIS_TLS",)),
    "settings.no_stale_risk": settings(accept_risk=("REQUIRE_HTTPS",)),
    "settings.field_encryption_enabled": settings(field_encryption_enabled=False),
    "settings.audit_logging_enabled": settings(audit_logging_enabled=False),
    "settings.security_headers_enabled": settings(security_headers_enabled=False),
    "settings.rate_limiting_enabled": settings(rate_limiting_enabled=False),
    "settings.require_https": settings(require_https=False),
    "settings.secure_cookies": settings(secure_cookies=False),
    "settings.connect_timeout": settings(connect_timeout_seconds=90.0),
    "settings.lock_outlives_plaid": settings(sync_lock_ttl_seconds=2.0),
    "encryption.key_present": secrets(encryption_key=None),
    "encryption.key_strong": secrets(encryption_key="QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="),
    "encryption.previous_keys_strong": secrets(encryption_keys_previous="changeme"),
    "encryption.round_trip": secrets(encryption_key="c2hvcnQ="),
    "encryption.no_plaintext_rows": part("schema", plaintext_tokens=3),
    "secrets.provider_known": settings(secrets_provider=("gcp",)),
    "secrets.provider_named": settings(secrets_provider=()),
    "secrets.provider_answers": gone("secrets"),
    "secrets.jwt_signing_key_present": secrets(jwt_signing_key=None),
    "secrets.plaid_secret_present": secrets(plaid_secret=None),
    "secrets.database_password_present": secrets(database_password=None),
    "secrets.strong": secrets(jwt_signing_key="your-256-bit-secret"),
    "secrets.one_use_each": secrets(jwt_signing_key=SECRETS["encryption_key"]),
    "secrets.not_in_database_url": settings(database_url="postgresql://u:Vexing7Plinth9@db/manna?sslmode=verify-full"),
    "secrets.files_closed": part("files", readable_secrets=("/etc/plaid_secret",)),
    "secrets.dotenv_closed": part("files", dotenv_mode=0o100644),
    "secrets.no_dotenv": part("files", dotenv_mode=0o100600),
    "secrets.not_in_arguments": part("process", argv=("validate", f"--key={SECRETS['encryption_key']}")),
    "secrets.refreshed_in_time": settings(secrets_refresh_seconds=600.0),
    "secrets.vault_encrypted": settings(secrets_provider=("vault",), vault_addr="http://vault:8200"),
    "database.reachable": gone("database"),
    "database.tls_verified": settings(database_url="postgresql://manna_writer@db/manna?sslmode=require"),
    "database.tls_in_use": part("database", tls=False),
    "database.not_superuser": part("database", superuser=True),
    "database.creates_no_roles": part("database", creates_roles=True),
    "database.obeys_row_security": part("database", bypasses_row_security=True),
    "database.owns_nothing": part("schema", owned_tables=("audit_events",)),
    "database.public_creates_nothing": part("database", public_may_create=True),
    "database.version_supported": part("database", version=120_019),
    "database.scram": parameter("database", password_encryption="md5"),
    "database.durable": parameter("database", fsync="off"),
    "database.commits_wait": parameter("database", synchronous_commit="off"),
    "database.statement_timeout": parameter("database", statement_timeout="0"),
    "database.lock_timeout": parameter("database", lock_timeout="0"),
    "database.idle_in_transaction_session_timeout": parameter("database", idle_in_transaction_session_timeout="0"),
    "database.utc": parameter("database", TimeZone="Europe/Berlin"),
    "database.migrated": part("schema", revision="20200101_0000"),
    "audit.insert_only": part("schema", audit_triggers=frozenset({"UPDATE", "DELETE"})),
    "audit.no_right_to_change": part("schema", audit_rights=frozenset({"INSERT", "DELETE"})),
    "audit.right_to_insert": part("schema", audit_rights=frozenset({"SELECT"})),
    "audit.partitions_closed": part("schema", partition_rights=frozenset({"UPDATE"})),
    "audit.chain_and_events_agree": part("schema", chain_seq=7, last_seq=5),
    "audit.head_hash_agrees": part("schema", head_matches=False),
    "audit.outbox_drained": part("schema", outbox_oldest_seconds=4000.0),
    "audit.signing_key_present": secrets(audit_signing_key=None),
    "audit.clock": part("schema", events_before_their_time=2),
    "redis.reachable": gone("redis"),
    "redis.tls": settings(redis_url="redis://manna@redis/0"),
    "redis.password": part("redis", open_without_password=True),
    "redis.own_user": part("redis", user="default"),
    "redis.no_eviction": parameter("redis", **{"maxmemory-policy": "allkeys-lru"}),
    "redis.durable": parameter("redis", appendonly="no"),
    "redis.protected_mode": both(
        part("redis", open_without_password=True), parameter("redis", **{"protected-mode": "no"})
    ),
    "redis.version_supported": part("redis", version=(5, 0, 14)),
    "celery.task_acks_late": celery(task_acks_late=False),
    "celery.task_reject_on_worker_lost": celery(task_reject_on_worker_lost=False),
    "celery.task_serializer": celery(task_serializer="pickle"),
    "celery.accept_content": celery(accept_content=["json", "pickle"]),
    "celery.task_create_missing_queues": celery(task_create_missing_queues=True),
    "celery.task_ignore_result": celery(task_ignore_result=False),
    "celery.worker_hijack_root_logger": celery(worker_hijack_root_logger=True),
    "celery.no_result_backend": celery(result_backend="redis://redis/1"),
    "celery.visibility_timeout": celery(
        broker_transport_options={"visibility_timeout": 10, "unacked_restore_interval": 5}
    ),
    "celery.prefetch": celery(worker_prefetch_multiplier=4),
    "celery.broker_certificate": celery(broker_url="rediss://redis/0", broker_use_ssl=None),
    "web.x_content_type_options": header("x-content-type-options"),
    "web.content_security_policy": header("content-security-policy", "default-src 'self'"),
    "web.x_frame_options": header("x-frame-options"),
    "web.referrer_policy": header("referrer-policy", "unsafe-url"),
    "web.cache_control": header("cache-control", "public"),
    "web.csp_without_unsafe": header("content-security-policy", "script-src 'unsafe-inline'; frame-ancestors 'none'"),
    "web.hsts": header("strict-transport-security", "max-age=0"),
    "web.tells_no_versions": header("server", "uvicorn"),
    "web.alive": part("web", live_status=500),
    "web.errors_are_opaque": part("web", missing_body="Traceback (most recent call last):"),
    "web.webhooks_verified": part("web", unsigned_webhook_refused=False),
    "plaid.client_id": settings(plaid_client_id=""),
    "plaid.environment": settings(plaid_env=PlaidEnvironment.SANDBOX),
    "plaid.real_data_in_production_only": lambda found: replace(found, environment="development"),
    "plaid.own_host": settings(plaid_base_url="https://plaid.example"),
    "plaid.encrypted": settings(plaid_base_url="http://plaid.example"),
    "plaid.timeout": settings(plaid_timeout_seconds=300.0),
    "plaid.secret_is_not_client_id": settings(plaid_client_id=SECRETS["plaid_secret"]),
    "dependencies.locked": gone("locks"),
    "dependencies.hashed": part("locks", unhashed=("celery",)),
    "dependencies.no_addresses": part("locks", addresses=("https://packages.invalid/simple",)),
    "dependencies.as_locked": installed(celery="4.0.0"),
    "dependencies.complete": part("locks", required=("not-there",)),
    "dependencies.none_avoided": installed(python_jose="3.3.0"),
    "dependencies.provider_installed": both(
        settings(secrets_provider=("aws",)), part("locks", installed={}, locked={}, required=())
    ),
    "files.dotenv_ignored": part("files", ignored=("dist/",)),
    "files.no_secrets_tracked": part("files", tracked=("deploy/.env",)),
    "files.no_private_keys_tracked": part("files", private_keys=("tls.key",)),
    "files.code_not_writable": part("files", writable_code=("core/errors.py",)),
    "process.python_supported": part("process", python=(3, 10)),
    "process.openssl_supported": part("process", openssl=(1, 1)),
    "process.not_root": part("process", is_root=True),
    "process.no_core_dumps": part("process", core_dump_bytes=-1),
    "process.asserts_run": part("process", optimised=True),
    "process.umask": part("process", umask=0o000),
}
# What they look at is code of ours, which the test below changes for them.
OF_CODE = {
    "encryption.column_sealed": ("core.models.PlaidItem.__table__.c.plaid_access_token.type", sqlalchemy.Text()),
    "plaid.webhook_algorithm": ("scripts.validation.plaid.ALGORITHM", "HS256"),
    "logs.plaid_tokens_masked": ("scripts.validation.logs.redact", dict),
    "logs.jwt_masked": ("scripts.validation.logs.redact", dict),
    "logs.url_passwords_masked": ("scripts.validation.logs.redact", dict),
    "logs.secret_fields_masked": ("scripts.validation.logs.redact", dict),
}


def failures(found):
    return {finding.check.name for finding in judge(found) if finding.status is Status.FAILED}


def test_there_are_sixty_checks_and_each_has_its_break():
    assert len(CHECKS) >= 60
    assert {*BREAKS, *OF_CODE} == set(CHECKS)


def test_a_healthy_installation_has_nothing_to_find(inspection):
    findings = list(judge(inspection))
    assert [(f.check.name, f.detail) for f in findings if f.status is not Status.PASSED] == []


def test_each_change_is_found_by_its_check(inspection):
    missed = [name for name, change in BREAKS.items() if name not in failures(change(inspection))]
    assert missed == []


@pytest.mark.parametrize("name", OF_CODE)
def test_each_change_of_code_is_found(inspection, monkeypatch, name):
    target, value = OF_CODE[name]
    if name == "encryption.column_sealed":
        monkeypatch.setattr(PlaidItem.__table__.c.plaid_access_token, "type", value)
    else:
        monkeypatch.setattr(target, value)
    assert name in failures(inspection)


def test_every_finding_says_what_and_how_to_mend_it_and_shows_no_secret(inspection):
    key = EncryptionKeyProvider.generate_key()
    shown = []
    for change in [*BREAKS.values(), secrets(encryption_key=key, jwt_signing_key=key, plaid_secret="changeme-please")]:
        for finding in judge(change(inspection)):
            if finding.status is Status.FAILED:
                assert finding.detail
                assert finding.check.mend
                shown.append(json.dumps(finding.as_row()))
    text = "".join(shown)
    assert not [value for value in (*SECRETS.values(), key, "changeme-please") if value in text]


def test_the_script_tells_programs(settings):
    command = [sys.executable, "-m", "scripts.validate_security", "--json"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    rows = json.loads(answer.stdout)
    assert {row["name"] for row in rows} == set(CHECKS)
    bad = [row for row in rows if row["status"] == "failed" and row["severity"] in {Severity.HIGH, Severity.CRITICAL}]
    assert answer.returncode == (1 if bad else 0)
    assert answer.stderr == ""


def test_settings_that_cannot_be_read_are_one_finding(settings, monkeypatch, capsys):
    monkeypatch.setenv("REDIS_URL", "memcached://redis")
    assert validate_security.main(["--json"]) == 1
    found = {row["name"]: row["found"] for row in json.loads(capsys.readouterr().out)}
    assert found["settings.readable"] == (
        "REDIS_URL has an unknown scheme; accepted are redis://, rediss://, sentinel:// and rediss-sentinel://"
    )


def test_servers_that_are_away_are_findings_for_people_too(settings, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:9/manna")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:9/0")
    assert validate_security.main([]) == 1
    table = capsys.readouterr().out
    assert "database.reachable" in table
    assert "redis.reachable" in table
    assert f"of {len(CHECKS)} checks" in table
    assert "left out: PostgreSQL at postgresql://127.0.0.1:9/manna does not answer" in table
