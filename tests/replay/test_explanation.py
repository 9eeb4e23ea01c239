"""A failed run explains itself."""

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
from core.plaid.errors import BY_CODE
from core.queries.runs import RunFilter, explain_run, find_runs
from core.sync.explanation import BY_VERDICT, HELD, PLANNED, SYNCED, WAITS, verdict_of


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
    assert verdict_of("NETWORK", "ReadTimeoutError") is Verdict.RETRY_LATER
