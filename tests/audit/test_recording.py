"""How an event gets into the outbox, and what does not get into it."""

from dataclasses import replace

import pytest
import structlog
from sqlalchemy.exc import DBAPIError

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.context import FIELDS, LARGEST_INTEGER
from core.audit.counting import CONTEXT_DROPPED, _installed, install_counter
from core.audit.policy import install_policy, uninstall_policy
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.settings import Environment
from core.sync.sync_item import sync_item
from tests.audit.chain import ask, execute, seal, verify
from tests.integration.plaid_script import PlaidScript, page

OUTBOX = "SELECT event_type, actor, resource, message, context FROM audit_outbox ORDER BY id"
LOGIN = AuditEventType.LOGIN_FAILED


@pytest.fixture
def counted():
    found = {}

    def add(name, amount, **labels):
        found[name] = found.get(name, 0) + amount

    install_counter(add)
    yield found
    _installed.clear()


def in_environment(resources, environment, **changes):
    changed = resources.settings.model_copy(update={"environment": environment, **changes})
    install_policy(changed, resources.database)


async def test_an_event_goes_with_the_transaction_of_its_change(resources):
    async with resources.database.transaction() as session:
        await log_audit_event(LOGIN, "A log-in was refused", session=session)
        await session.rollback()
    assert await ask(resources, OUTBOX) == []
    async with resources.database.transaction() as session:
        await log_audit_event(LOGIN, "A log-in was refused", session=session)
        assert await ask(resources, OUTBOX) == []
    assert len(await ask(resources, OUTBOX)) == 1


async def test_as_the_guide_writes_it_an_event_needs_no_transaction_of_the_caller(resources):
    context = AuditContext(user_id="u1", ip_address="192.0.2.7")
    await log_audit_event(AuditEventType.LOGIN_FAILED, "A log-in was refused", context=context)
    ((kind, actor, resource, message, stored),) = await ask(resources, OUTBOX)
    assert (kind, actor, resource, message) == ("auth:login:failed", "manna-sync", None, "A log-in was refused")
    assert stored == {"user_id": "u1", "ip_address": "192.0.2.7"}


async def test_a_database_can_be_given(resources):
    uninstall_policy()
    await log_audit_event(LOGIN, "A log-in was refused", database=resources.database)
    assert len(await ask(resources, OUTBOX)) == 1
    with pytest.raises(TypeError, match="session or a database"):
        await log_audit_event(LOGIN, "A log-in was refused")


async def test_a_field_off_the_list_is_refused_and_says_so(resources):
    with pytest.raises(TypeError, match="does not take acount, pages; accepted are the fields of AuditContext"):
        await log_audit_event(LOGIN, "A test", context={"acount": "x", "pages": "three", "user_id": "u"})
    with pytest.raises(TypeError):
        AuditContext(acount="x")
    assert await ask(resources, OUTBOX) == []


async def test_production_drops_and_counts_it_and_never_shows_its_value(resources, counted):
    in_environment(resources, Environment.PRODUCTION)
    with structlog.testing.capture_logs() as logs:
        await log_audit_event(LOGIN, "A test", context={"acount": "hidden-value", "pages": "three", "user_id": "u"})
    assert [row.context for row in await ask(resources, OUTBOX)] == [{"user_id": "u"}]
    assert counted[CONTEXT_DROPPED] == 2
    assert logs[0]["fields"] == ["acount", "pages"]
    assert "hidden-value" not in repr(logs)


async def test_switched_off_it_writes_nothing_and_that_is_said_loudly(resources):
    with structlog.testing.capture_logs() as logs:
        in_environment(resources, Environment.TEST, audit_logging_enabled=False)
    assert [(line["event"], line["log_level"]) for line in logs] == [("audit_logging_disabled", "warning")]
    await log_audit_event(LOGIN, "A test")
    assert await ask(resources, OUTBOX) == []


async def test_what_a_stranger_sends_cannot_make_an_event_unrecordable(resources):
    harmful = "a\x00b\r\n\u2028\ud800\x1b[31m" + "x" * 2000
    context = AuditContext(user_agent=harmful, count=2**70, dry_run=True)
    await log_audit_event(LOGIN, harmful, context=context, actor=harmful, resource=harmful)
    ((_, actor, resource, message, stored),) = await ask(resources, OUTBOX)
    assert actor == resource == message == stored["user_agent"]
    assert len(actor) == 500
    assert actor.isprintable()
    assert (stored["count"], stored["dry_run"]) == (LARGEST_INTEGER, True)
    await seal(resources, 1)
    assert (await verify(resources)).problem is None


async def test_a_secret_in_any_field_is_masked(resources):
    token = "access-sandbox-1b2c3d4e-0000-4a4a-8b8b-canarycanary"
    context = AuditContext(reason=f"refused {token}", user_agent=f"agent {token}")
    await log_audit_event(LOGIN, f"with {token}", context=context, actor=token, resource=token)
    assert token not in repr(await ask(resources, OUTBOX))


def test_every_type_has_its_place_and_the_context_only_plain_fields():
    assert all(kind.value.count(":") == 2 and kind.meaning.endswith(".") for kind in AuditEventType)
    assert {str(kind) for kind in FIELDS.values()} == {"str | None", "int | None", "bool | None"}


async def test_without_its_record_no_token_is_revealed(resources):
    (item_id,) = await register_items(resources.database, [NewItem("u", "p", "access-sandbox-x")], "operator:test")
    refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the log is full'; END $$"
    await execute(
        resources,
        refuse,
        "CREATE TRIGGER refuse BEFORE INSERT ON audit_outbox FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    script = PlaidScript(page())
    with pytest.raises(DBAPIError, match="the log is full"):
        await sync_item(replace(resources, plaid=script), item_id, SyncTrigger.MANUAL)
    assert script.asked == []
