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
from core.models import RunStatus
from core.plaid.errors import BY_CODE
from core.sync.explanation import BY_VERDICT, HELD, PLANNED, SYNCED, WAITS, explain, verdict_of
from core.sync.history import RunFilter, list_runs, show_run


async def explained(resources):
    (newest,) = await list_runs(resources.database, RunFilter(), limit=1)
    return explain(await show_run(resources.database, newest["id"]))


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
    succeeded, failed = await list_runs(resources.database, RunFilter())
    assert explain(succeeded) is None
    assert explain(failed).retry == SYNCED


@pytest.mark.parametrize("code", BY_CODE)
def test_every_code_of_plaids_keeps_its_verdict(code):
    assert verdict_of("ANY", code) is BY_CODE[code].verdict


def test_every_verdict_is_explained():
    assert set(BY_VERDICT) == set(Verdict)
    assert verdict_of("HTTP", "HTTP_503") is Verdict.RETRY_LATER
    assert verdict_of("HTTP", "HTTP_418") is Verdict.OPERATOR_MUST_ACT
    assert verdict_of("NETWORK", "ReadTimeoutError") is Verdict.RETRY_LATER


async def test_the_history_is_filtered(fleet, resources):
    here, there = await fleet.add(2), await fleet.add(1, "ins_2")
    await fleet.fail([*here, *there])
    await fleet.succeed(here[:1])

    async def found(**fields):
        return [row["item_id"] for row in await list_runs(resources.database, RunFilter(**fields))]

    assert await found() == [here[0], *there, *reversed(here)]
    assert await found(status=RunStatus.SUCCEEDED) == here[:1]
    assert await found(error_code="INVALID_FIELD", institution_id="ins_2") == there
    with pytest.raises(NotFoundError, match="manna syncs list"):
        await show_run(resources.database, uuid4())
