"""Plaid's error table, row by row: what each code makes of the run, of its Item, of the next look and of the breakers.

The rows are those of Plaid's error reference; each code is answered by the simulator over HTTP.
"""

import pytest

from core.errors import NotFoundError, Verdict
from core.models import RunStatus, SyncTrigger

SOON, QUARTER_HOUR, HOUR, NEVER = (15, 60), (600, 1200), (2400, 4800), None

USER = (Verdict.USER_MUST_ACT, "needs_reauth", NEVER, {})
GONE = (Verdict.ITEM_IS_GONE, "revoked", NEVER, {})
LATER = (Verdict.RETRY_LATER, "active", SOON, {})
OPERATOR = (Verdict.OPERATOR_MUST_ACT, "active", QUARTER_HOUR, {})
CLIENT = (Verdict.OPERATOR_MUST_ACT, "active", QUARTER_HOUR, {"plaid": "open"})
TOKEN = (Verdict.OPERATOR_MUST_ACT, "active", QUARTER_HOUR, {"plaid": "counting"})
BANK = (Verdict.INSTITUTION_IS_DOWN, "active", HOUR, {"institution": "counting"})

ROWS = [
    ("TRANSACTIONS_ERROR", 400, "TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION", LATER),
    (
        "RATE_LIMIT_EXCEEDED",
        429,
        "TRANSACTIONS_SYNC_LIMIT TRANSACTIONS_LIMIT TRANSACTIONS_REFRESH_LIMIT RATE_LIMIT",
        LATER,
    ),
    (
        "RATE_LIMIT_EXCEEDED",
        429,
        "ACCOUNTS_LIMIT ACCOUNTS_BALANCE_GET_LIMIT BALANCE_LIMIT ITEM_GET_LIMIT",
        LATER,
    ),
    ("RATE_LIMIT_EXCEEDED", 429, "INSTITUTION_RATE_LIMIT", LATER),
    ("RATE_LIMIT_EXCEEDED", 429, "CREDITS_EXHAUSTED", CLIENT),
    ("API_ERROR", 500, "INTERNAL_SERVER_ERROR", LATER),
    ("API_ERROR", 503, "PLANNED_MAINTENANCE", LATER),
    ("INSTITUTION_ERROR", 400, "INSTITUTION_DOWN", BANK),
    ("INSTITUTION_ERROR", 400, "INSTITUTION_NOT_RESPONDING INSTITUTION_NOT_AVAILABLE", BANK),
    ("INSTITUTION_ERROR", 400, "INSTITUTION_NO_LONGER_SUPPORTED UNSUPPORTED_RESPONSE", OPERATOR),
    (
        "INSTITUTION_ERROR",
        400,
        "UNAUTHORIZED_INSTITUTION INSTITUTION_REGISTRATION_REQUIRED INSTITUTION_NOT_ENABLED_IN_ENVIRONMENT",
        OPERATOR,
    ),
    ("ITEM_ERROR", 400, "ITEM_LOGIN_REQUIRED", USER),
    ("ITEM_ERROR", 400, "ACCESS_NOT_GRANTED NO_ACCOUNTS", USER),
    (
        "ITEM_ERROR",
        400,
        "ITEM_LOCKED USER_SETUP_REQUIRED PASSWORD_RESET_REQUIRED INVALID_CREDENTIALS INVALID_MFA",
        USER,
    ),
    ("ITEM_ERROR", 400, "INVALID_UPDATED_USERNAME ITEM_NOT_SUPPORTED MFA_NOT_SUPPORTED", USER),
    ("ITEM_ERROR", 400, "ITEM_NOT_FOUND ITEM_CONCURRENTLY_DELETED", GONE),
    ("ITEM_ERROR", 400, "PRODUCT_NOT_READY", LATER),
    ("ITEM_ERROR", 400, "PRODUCT_NOT_ENABLED PRODUCTS_NOT_SUPPORTED", OPERATOR),
    ("INVALID_INPUT", 400, "INVALID_ACCESS_TOKEN", TOKEN),
    ("INVALID_INPUT", 400, "INVALID_API_KEYS UNAUTHORIZED_ENVIRONMENT UNAUTHORIZED_ROUTE_ACCESS", CLIENT),
    ("INVALID_INPUT", 400, "INVALID_PRODUCT INVALID_PUBLIC_TOKEN INVALID_ACCOUNT_ID", OPERATOR),
    ("INVALID_INPUT", 400, "INVALID_WEBHOOK_VERIFICATION_KEY_ID", OPERATOR),
    ("INVALID_INPUT", 400, "ADDITIONAL_CONSENT_REQUIRED", USER),
    ("INVALID_INPUT", 400, "USER_PERMISSION_REVOKED", GONE),
    ("ITEM_ERROR", 400, "USER_PERMISSION_REVOKED", GONE),
    (
        "INVALID_REQUEST",
        400,
        "MISSING_FIELDS UNKNOWN_FIELDS INVALID_FIELD INVALID_BODY INVALID_HEADERS SANDBOX_ONLY",
        OPERATOR,
    ),
    ("INVALID_REQUEST", 404, "NOT_FOUND NO_LONGER_AVAILABLE", OPERATOR),
    ("TYPE_OF_TOMORROW", 400, "CODE_OF_TOMORROW", OPERATOR),
    ("TYPE_OF_TOMORROW", 503, "CODE_OF_TOMORROW", LATER),
]


async def breakers(world):
    return {
        scope.partition(":")[0]: state for scope, state in await world.sql("SELECT scope, state FROM circuit_breakers")
    }


@pytest.mark.parametrize(("error_type", "http", "codes", "meaning"), ROWS, ids=lambda one: str(one)[:40])
async def test_a_row_of_the_error_table(world, error_type, http, codes, meaning):
    verdict, status, look, breaker = meaning
    for code in codes.split():
        (item,) = await world.link(transactions=3)
        answer = {"error_code": code, "error_type": error_type, "status": http}
        fault_id = await world.fault(item, "error", times=None, **answer)
        outcome = await world.sync(item)
        assert (outcome.status, outcome.error_code, outcome.verdict) == (RunStatus.FAILED, code, verdict)
        found = await world.one(item, "status, error_type, error_code, version")
        assert found == (status, error_type, code, 0)
        assert await world.sql(
            "SELECT status, error_type, error_code FROM sync_runs WHERE item_id = :i", i=item.id
        ) == [("failed", error_type, code)]
        (seconds,) = await world.one(item, "extract(epoch FROM next_sync_at - now())")
        assert seconds is None if look is None else look[0] < seconds < look[1]
        assert await breakers(world) == breaker
        await world.clear(fault_id)
        await recovers(world, item, verdict)


async def recovers(world, item, verdict):
    """Once the fault is gone a sync brings everything, unless access is gone for good."""
    if verdict is Verdict.ITEM_IS_GONE:
        with pytest.raises(NotFoundError):
            await world.sync(item)
        return
    assert (await world.sync(item)).status is RunStatus.SUCCEEDED
    assert await world.one(item, "status, error_code, consecutive_failures, parked_at") == ("active", None, 0, None)
    await world.check(item)


async def test_a_rate_limit_waits_as_long_as_it_was_told_and_not_for_ever(world):
    # An Item each: what one was told holds back its own calls alone.
    for item, (told, least, most) in zip(await world.link(2), ((300, 200, 400), (10**30, 3600, 20_000)), strict=True):
        fault = await world.fault(item, "body", status=429, body="{}", headers={"Retry-After": str(told)}, times=None)
        assert (await world.sync(item, SyncTrigger.SCHEDULED)).verdict is Verdict.RETRY_LATER
        (seconds,) = await world.one(item, "extract(epoch FROM next_sync_at - now())")
        assert least < seconds < most
        await world.clear(fault)


@pytest.mark.parametrize(
    "told",
    [
        '{"error_type": "API\\u0000ERROR", "error_code": "A\\u0000B", "request_id": "r\\u0000"}',
        '{"error_type": "API_ERROR", "error_code": "\\ud800", "request_id": "\\ud800"}',
        '{"error_type": "' + "é" * 9000 + '", "error_code": "' + "x" * 1_000_000 + '"}',
        '{"error_type": 7, "error_code": ["a"]}',
        '{"causes": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "<html>Bad Request</html>",
        "",
    ],
    ids=["nul", "half a pair", "giant", "types", "deep", "html", "empty"],
)
async def test_an_error_that_is_no_error_object_is_a_failure_like_any_other(world, item, told):
    fault_id = await world.fault(item, "body", status=400, body=told, times=None)
    assert (await world.sync(item)).status is RunStatus.FAILED
    (found,) = await world.sql("SELECT status, error_code FROM sync_runs")
    assert found == ("failed", "HTTP_400")
    await world.clear(fault_id)
    await recovers(world, item, Verdict.RETRY_LATER)
