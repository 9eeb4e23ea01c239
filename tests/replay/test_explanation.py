"""A failed run explains itself."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from core.errors import (
    InstitutionIsDownError,
    ItemIsGoneError,
    NotFoundError,
    OperatorMustActError,
    RetryLaterError,
    UserMustActError,
    Verdict,
)
from core.models import ItemStatus, RunStatus
from core.plaid.errors import BY_CODE
from core.queries.runs import RunFilter, explain_run, find_runs
from core.sync.explanation import HELD, PLANNED, SYNCED, WAITS, explain, verdict_of
from core.sync.explanation_texts import BY_VERDICT


async def explained(resources):
    (newest,) = (await find_runs(resources.database, RunFilter(), limit=1)).data
    return (await explain_run(resources.database, newest["id"]))[1]


@pytest.mark.parametrize(
    ("error", "retry", "advice"),
    [
        (RetryLaterError("INTERNAL_SERVER_ERROR", error_type="API_ERROR"), PLANNED, "Nothing"),
        (UserMustActError("ITEM_LOGIN_REQUIRED", error_type="ITEM_ERROR"), WAITS, "update mode"),
        (ItemIsGoneError("ITEM_NOT_FOUND", error_type="ITEM_ERROR"), WAITS, "link the account anew"),
        (OperatorMustActError("DECRYPTION_FAILED"), PLANNED, "MANNA_ENCRYPTION_KEYS_PREVIOUS"),
        (InstitutionIsDownError("INSTITUTION_DOWN", error_type="INSTITUTION_ERROR"), HELD, "released when it answers"),
    ],
)
async def test_what_happens_next_and_what_a_person_can_do(fleet, resources, error, retry, advice):
    await fleet.fail(await fleet.add(1), error)
    told = await explained(resources)
    assert told.retry == retry
    assert advice in told.advice
    assert (told.next_sync_at is None) is (retry == WAITS)


async def test_an_item_set_aside_names_the_command_that_brings_it_back(fleet, resources):
    (item_id,) = await fleet.add(1)
    await fleet.run("UPDATE plaid_items SET consecutive_failures = 19")
    await fleet.fail([item_id])
    told = await explained(resources)
    assert told.retry == WAITS
    assert f"manna syncs replay {item_id}" in told.advice


async def test_a_failure_that_was_overcome_says_so(fleet, resources):
    item_ids = await fleet.add(1)
    await fleet.fail(item_ids)
    await fleet.succeed(item_ids)
    succeeded, failed = (await find_runs(resources.database, RunFilter(), limit=2)).data
    assert (await explain_run(resources.database, succeeded["id"]))[1] is None
    assert (await explain_run(resources.database, failed["id"]))[1].retry == SYNCED
    with pytest.raises(NotFoundError, match="manna syncs list"):
        await explain_run(resources.database, uuid4())


@pytest.mark.parametrize("code", BY_CODE)
def test_every_code_of_plaids_keeps_its_verdict(code):
    assert verdict_of("ANY", code) is BY_CODE[code].verdict


def test_every_verdict_is_explained():
    assert set(BY_VERDICT) == set(Verdict)
    assert verdict_of("HTTP", "HTTP_503") is Verdict.RETRY_LATER
    assert verdict_of("HTTP", "HTTP_418") is Verdict.OPERATOR_MUST_ACT
    assert verdict_of("NETWORK", "TIMED_OUT") is Verdict.RETRY_LATER


# Plaid's error table: type, codes, and what the advice has to say for each class of them.
TABLE = [
    ("TRANSACTIONS_ERROR", ["TRANSACTIONS_SYNC_MUTATION_DURING_PAGINATION"], "tried again by itself"),
    ("RATE_LIMIT_EXCEEDED", ["TRANSACTIONS_SYNC_LIMIT", "TRANSACTIONS_LIMIT", "RATE_LIMIT"], "PLAID_RATE_PER_CLIENT"),
    ("RATE_LIMIT_EXCEEDED", ["INSTITUTION_RATE_LIMIT"], "Nothing; if it is the rule"),
    (
        "RATE_LIMIT_EXCEEDED",
        ["TRANSACTIONS_REFRESH_LIMIT", "ACCOUNTS_LIMIT", "ITEM_GET_LIMIT"],
        "tried again by itself",
    ),
    ("RATE_LIMIT_EXCEEDED", ["CREDITS_EXHAUSTED"], "Settle it with Plaid"),
    ("API_ERROR", ["INTERNAL_SERVER_ERROR", "PLANNED_MAINTENANCE"], "tried again by itself"),
    (
        "INSTITUTION_ERROR",
        ["INSTITUTION_DOWN", "INSTITUTION_NOT_RESPONDING", "INSTITUTION_NOT_AVAILABLE"],
        "released when it answers",
    ),
    ("INSTITUTION_ERROR", ["INSTITUTION_NO_LONGER_SUPPORTED", "UNSUPPORTED_RESPONSE"], "Waiting does not help"),
    (
        "INSTITUTION_ERROR",
        ["UNAUTHORIZED_INSTITUTION", "INSTITUTION_REGISTRATION_REQUIRED", "INSTITUTION_NOT_ENABLED_IN_ENVIRONMENT"],
        "Plaid's dashboard, then replay",
    ),
    ("ITEM_ERROR", ["ITEM_LOGIN_REQUIRED", "ACCESS_NOT_GRANTED", "NO_ACCOUNTS"], "update mode"),
    ("ITEM_ERROR", ["ITEM_LOCKED", "USER_SETUP_REQUIRED", "PASSWORD_RESET_REQUIRED"], "at the bank"),
    ("ITEM_ERROR", ["INVALID_CREDENTIALS", "INVALID_MFA"], "update mode"),
    ("ITEM_ERROR", ["INVALID_UPDATED_USERNAME", "ITEM_NOT_SUPPORTED", "MFA_NOT_SUPPORTED"], "link the bank anew"),
    ("ITEM_ERROR", ["ITEM_NOT_FOUND", "ITEM_CONCURRENTLY_DELETED"], "link the account anew"),
    ("ITEM_ERROR", ["PRODUCT_NOT_READY"], "tried again by itself"),
    ("ITEM_ERROR", ["PRODUCT_NOT_ENABLED", "PRODUCTS_NOT_SUPPORTED"], "Have Plaid enable Transactions"),
    ("INVALID_INPUT", ["INVALID_API_KEYS", "UNAUTHORIZED_ENVIRONMENT", "INVALID_ACCESS_TOKEN"], "Check PLAID_"),
    ("INVALID_INPUT", ["UNAUTHORIZED_ROUTE_ACCESS", "INVALID_PRODUCT"], "Have Plaid enable Transactions"),
    ("INVALID_INPUT", ["INVALID_PUBLIC_TOKEN", "INVALID_ACCOUNT_ID"], "Report it with the request id"),
    ("INVALID_INPUT", ["ADDITIONAL_CONSENT_REQUIRED"], "update mode"),
    ("INVALID_INPUT", ["USER_PERMISSION_REVOKED"], "link the account anew"),
    ("ITEM_ERROR", ["USER_PERMISSION_REVOKED"], "link the account anew"),
    (
        "INVALID_REQUEST",
        ["MISSING_FIELDS", "UNKNOWN_FIELDS", "INVALID_BODY", "INVALID_HEADERS", "SANDBOX_ONLY", "NOT_FOUND"],
        "Report it with the request id",
    ),
    ("INVALID_REQUEST", ["INVALID_FIELD"], "then replay by this code"),
    ("SOMETHING_NEW", ["NEVER_SEEN"], "Look the code up in Plaid's documentation"),
    ("HTTP", ["HTTP_502"], "tried again by itself"),
    ("NETWORK", ["TIMED_OUT"], "tried again by itself"),
    ("UNEXPECTED", ["IntegrityError"], "the cause the log names"),
    ("MANNA", ["CURSOR_MISSING", "HISTORY_INCOMPLETE", "UNSTORABLE_ANSWER", "CURSOR_REFUSED_AGAIN"], "request id"),
    ("MANNA", ["STAGED_ROWS_LOST", "LEASE_LOST"], "tried again"),
]


@pytest.mark.parametrize(("error_type", "codes", "advice"), TABLE)
def test_every_class_of_plaids_table_says_what_a_person_can_do(error_type, codes, advice):
    now = datetime.now(UTC)
    planned = {"status": RunStatus.FAILED, "item_status": ItemStatus.ACTIVE, "started_at": now, "next_sync_at": now}
    for code in codes:
        told = explain(
            planned | {"error_type": error_type, "error_code": code, "last_synced_at": None, "parked_at": None}
        )
        assert told.happened.endswith(".")
        assert told.retry == PLANNED
        assert advice in told.advice, code
        # Whoever is told to do nothing is told so because it heals by itself.
        if told.advice.startswith("Nothing"):
            assert verdict_of(error_type, code).name not in {"OPERATOR_MUST_ACT", "USER_MUST_ACT", "ITEM_IS_GONE"}
