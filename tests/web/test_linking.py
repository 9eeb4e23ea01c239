"""From Link to the first sync and to the removal, against the simulator: by this API, and by plaid-python's."""

import pytest
from plaid.model.country_code import CountryCode
from plaid.model.item_public_token_exchange_request import ItemPublicTokenExchangeRequest
from plaid.model.link_token_create_request import LinkTokenCreateRequest
from plaid.model.link_token_create_request_user import LinkTokenCreateRequestUser
from plaid.model.products import Products
from sqlalchemy import text

from core.items.removal import revoke_due
from core.items.webhook_registration import register_due
from core.models import RunStatus, SyncTrigger
from core.settings import load_settings
from core.sync.sync_item import sync_item
from tests.web.conftest import opened

WEBHOOK = "https://manna.example/webhooks/plaid"
BANK = "ins_109508"


@pytest.fixture
async def linking(web_settings, monkeypatch, simulator):
    """The application, with the simulator as Plaid."""
    monkeypatch.setenv("PLAID_BASE_URL", simulator.url)
    async with opened(load_settings()) as client:
        yield client


def resources_of(client):
    return client.app.state.services.resources


async def rows(client, statement):
    async with resources_of(client).database.connection() as connection:
        return [dict(row._mapping) for row in await connection.execute(text(statement))]


async def finish_link(client, simulator, headers, user="u1", **fields):
    """Open Link through the API, and do in it what its user does; return the public token."""
    opened_link = await client.post("/api/v1/link-token", json={"user_id": user}, headers=headers)
    assert opened_link.status_code == 201, opened_link.text
    return simulator.control("link", link_token=opened_link.json()["link_token"], institution_id=BANK, **fields)


async def exchange(client, headers, token, user="u1", **fields):
    return await client.post("/api/v1/items", json={"user_id": user, "public_token": token, **fields}, headers=headers)


async def test_a_bank_is_linked_synced_and_removed(linking, simulator, bearer):
    headers = bearer("items:write", "items:read")
    done = await finish_link(linking, simulator, headers, transactions=12)
    created = await exchange(linking, headers, done["public_token"])
    assert created.status_code == 201, created.text
    item = created.json()
    assert (item["plaid_item_id"], item["institution_id"], item["status"]) == (done["item_id"], BANK, "active")
    assert len(item["accounts"]) >= 1
    assert created.headers["location"] == f"/api/v1/items/{item['id']}"

    assert simulator.control("items/list", item_ids=[done["item_id"]])["items"][0]["webhook"] == WEBHOOK
    stored = await rows(linking, "SELECT id, plaid_access_token FROM plaid_items")
    assert stored[0]["plaid_access_token"].startswith("sealed:")
    assert "access-sandbox" not in created.text
    assert await resources_of(linking).redis.llen("sync.webhook") == 1

    outcome = await sync_item(resources_of(linking), stored[0]["id"], SyncTrigger.MANUAL)
    assert outcome.status is RunStatus.SUCCEEDED
    path = f"/api/v1/items/{item['id']}"
    shown = (await linking.get(f"{path}/transactions", headers=headers)).json()["data"]
    assert {one["transaction_id"] for one in shown} == set(simulator.truth(done))

    assert (await linking.delete(path, headers=headers)).status_code == 202
    assert await revoke_due(resources_of(linking)) == 1
    assert simulator.control("items/list", item_ids=[done["item_id"]])["items"][0]["removed"]
    assert (await linking.get(path, headers=headers)).json()["removal"]["removed_at"] is not None
    assert await revoke_due(resources_of(linking)) == 0


async def test_the_same_accounts_are_not_linked_twice(linking, simulator, bearer):
    headers = bearer("items:write", "items:read")
    first = await exchange(linking, headers, (await finish_link(linking, simulator, headers))["public_token"])
    accounts = [{"name": one["name"], "mask": one["mask"]} for one in first.json()["accounts"]]

    again = await finish_link(linking, simulator, headers)
    told = {"institution_id": BANK, "accounts": accounts}
    before = await exchange(linking, headers, again["public_token"], **told)
    assert (before.status_code, before.json()["item_id"]) == (409, first.json()["id"])
    assert len(await rows(linking, "SELECT id FROM plaid_items")) == 1

    # Another user may have the same accounts, and whoever means it may have them twice.
    assert (await exchange(linking, headers, again["public_token"], user="u2", **told)).status_code == 201
    meant = await finish_link(linking, simulator, headers)
    both = await exchange(linking, headers, meant["public_token"], **told, allow_duplicate=True)
    assert both.status_code == 201


async def test_a_duplicate_found_after_the_exchange_is_removed_again(linking, simulator, bearer):
    headers = bearer("items:write")
    first = await exchange(linking, headers, (await finish_link(linking, simulator, headers))["public_token"])
    again = await finish_link(linking, simulator, headers)
    # As if the bank had the first Item's accounts once more.
    for account in simulator.control("ledger", item_id=again["item_id"])["accounts"]:
        statement = (
            "INSERT INTO accounts (item_id, account_id, name, mask, type) VALUES (:item, :id, :name, :mask, 'x')"
        )
        values = {"item": first.json()["id"], "id": account["account_id"], "name": account["name"]}
        async with resources_of(linking).database.connection() as connection:
            await connection.execute(text(statement), values | {"mask": account["mask"]})
    refused = await exchange(linking, headers, again["public_token"])
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:manna-sync:problem:duplicate-item")
    assert await revoke_due(resources_of(linking)) == 1
    assert simulator.control("items/list", item_ids=[again["item_id"]])["items"][0]["removed"]
    assert sorted(row["status"] for row in await rows(linking, "SELECT status FROM plaid_items")) == [
        "active",
        "removed",
    ]


async def test_update_mode_repairs_an_item_and_keeps_its_token(linking, simulator, bearer):
    headers = bearer("items:write", "items:read")
    done = await finish_link(linking, simulator, headers)
    item = (await exchange(linking, headers, done["public_token"])).json()
    simulator.control("items/fail", item_id=done["item_id"], announce=False)
    await sync_item(
        resources_of(linking), (await rows(linking, "SELECT id FROM plaid_items"))[0]["id"], SyncTrigger.MANUAL
    )
    path = f"/api/v1/items/{item['id']}"
    assert (await linking.get(path, headers=headers)).json()["status"] == "needs_reauth"

    asked = {"user_id": "u1", "item_id": item["id"], "select_accounts": True}
    link = (await linking.post("/api/v1/link-token", json=asked, headers=headers)).json()
    assert simulator.control("link", link_token=link["link_token"]) == {
        "item_id": done["item_id"],
        "public_token": None,
    }
    await linking.post(f"{path}/sync", json={"repaired": True}, headers=headers)
    assert (await linking.get(path, headers=headers)).json()["status"] == "active"


async def test_a_refresh_is_asked_of_plaid(linking, simulator, bearer):
    headers = bearer("items:write")
    done = await finish_link(linking, simulator, headers)
    item = (await exchange(linking, headers, done["public_token"])).json()
    answer = await linking.post(f"/api/v1/items/{item['id']}/sync", json={"refresh": True}, headers=headers)
    assert answer.status_code == 202
    asked = simulator.control("requests", item_id=done["item_id"])
    assert "/transactions/refresh" in str(asked)


async def test_what_plaid_refuses_is_told_without_its_words(linking, bearer):
    headers = bearer("items:write")
    refused = await exchange(linking, headers, "public-sandbox-00000000-0000-0000-0000-000000000000")
    assert (refused.status_code, refused.json()["error_code"]) == (422, "INVALID_PUBLIC_TOKEN")
    assert "public-sandbox" not in refused.text
    unknown = {"user_id": "u1", "item_id": "0199f3c1-6f0a-7c41-9d3e-2b6c8f0a1d22"}
    assert (await linking.post("/api/v1/link-token", json=unknown, headers=headers)).status_code == 404


async def test_a_removal_that_plaid_cannot_take_now_is_tried_again(linking, simulator, bearer):
    headers = bearer("items:write")
    done = await finish_link(linking, simulator, headers)
    item = (await exchange(linking, headers, done["public_token"])).json()
    fault = simulator.control(
        "faults",
        kind="error",
        error_code="INTERNAL_SERVER_ERROR",
        path="/item/remove",
        item_id=done["item_id"],
        times=None,
    )["fault_id"]
    await linking.delete(f"/api/v1/items/{item['id']}", headers=headers)
    assert await revoke_due(resources_of(linking)) == 0
    waiting = await rows(linking, "SELECT error_code, attempts, next_attempt_at > now() AS later FROM item_removals")
    assert waiting == [{"error_code": "INTERNAL_SERVER_ERROR", "attempts": 1, "later": True}]
    simulator.control("faults/clear", fault_ids=[fault])
    async with resources_of(linking).database.connection() as connection:
        await connection.execute(text("UPDATE item_removals SET next_attempt_at = now()"))
    assert await revoke_due(resources_of(linking)) == 1


async def test_an_item_that_plaid_has_forgotten_already_counts_as_removed(linking, simulator, bearer):
    headers = bearer("items:write")
    done = await finish_link(linking, simulator, headers)
    item = (await exchange(linking, headers, done["public_token"])).json()
    simulator.control("items/revoke", item_id=done["item_id"], announce=False)
    await linking.delete(f"/api/v1/items/{item['id']}", headers=headers)
    assert await revoke_due(resources_of(linking)) == 1


def link_token_request():
    """Return plaid-python's request of a link token that names no webhook."""
    return LinkTokenCreateRequest(
        client_name="Manna Sync",
        language="en",
        country_codes=[CountryCode("US")],
        products=[Products("transactions")],
        user=LinkTokenCreateRequestUser(client_user_id="u1"),
    )


async def registered_when_due(client):
    async with resources_of(client).database.connection() as connection:
        await connection.execute(text("UPDATE webhook_registrations SET next_attempt_at = now()"))
    return await register_due(resources_of(client))


async def test_what_plaid_python_has_opened_and_exchanged_is_taken_over(linking, simulator, api, bearer):
    asked = link_token_request()
    link_token = api.link_token_create(asked).link_token
    done = simulator.control("link", link_token=link_token, institution_id=BANK)
    headers = bearer("items:write")
    created = await exchange(linking, headers, done["public_token"])
    assert created.status_code == 201
    # The link token named no webhook: it was registered afterwards.
    assert simulator.control("items/list", item_ids=[done["item_id"]])["items"][0]["webhook"] == WEBHOOK

    token = simulator.control("link", link_token=api.link_token_create(asked).link_token)["public_token"]
    exchanged = api.item_public_token_exchange(ItemPublicTokenExchangeRequest(public_token=token))
    assert exchanged.access_token.startswith("access-sandbox-")
    assert (await exchange(linking, headers, token)).status_code == 422


# A token that is just being replaced is told the second.
@pytest.mark.parametrize("code", ["INTERNAL_SERVER_ERROR", "ITEM_NOT_FOUND"])
async def test_a_webhook_that_plaid_does_not_register_is_tried_until_it_does(linking, simulator, api, bearer, code):
    asked = link_token_request()
    done = simulator.control("link", link_token=api.link_token_create(asked).link_token, institution_id=BANK)
    refused = {"kind": "error", "error_code": code, "path": "/item/webhook/update"}
    fault = simulator.control("faults", **refused, item_id=done["item_id"], times=None)["fault_id"]
    headers = bearer("items:write")
    assert (await exchange(linking, headers, done["public_token"])).status_code == 201

    open_ones = "SELECT error_code, attempts, next_attempt_at > now() AS later FROM webhook_registrations"
    assert await rows(linking, open_ones) == [{"error_code": code, "attempts": 0, "later": True}]
    assert await registered_when_due(linking) == 0
    assert await rows(linking, open_ones) == [{"error_code": code, "attempts": 1, "later": True}]

    simulator.control("faults/clear", fault_ids=[fault])
    assert await registered_when_due(linking) == 1
    assert await rows(linking, open_ones) == []
    assert simulator.control("items/list", item_ids=[done["item_id"]])["items"][0]["webhook"] == WEBHOOK


async def test_nothing_is_registered_for_an_item_that_is_gone(linking, simulator, api, bearer):
    done = simulator.control(
        "link", link_token=api.link_token_create(link_token_request()).link_token, institution_id=BANK
    )
    refused = {"kind": "error", "error_code": "INTERNAL_SERVER_ERROR", "path": "/item/webhook/update"}
    simulator.control("faults", **refused, item_id=done["item_id"], times=None)
    headers = bearer("items:write")
    item = (await exchange(linking, headers, done["public_token"])).json()
    await linking.delete(f"/api/v1/items/{item['id']}", headers=headers)
    assert await registered_when_due(linking) == 0
    assert await rows(linking, "SELECT * FROM webhook_registrations") == []
