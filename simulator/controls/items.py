"""Link Items, tell about them, and let happen to them what happens at the bank or to the user."""

import gc
from typing import Any, Literal

import msgspec

from simulator.bank.changes import Natural, extract
from simulator.bank.item import DYNAMIC_USER, HISTORICAL, INITIAL, NOT_READY, Item
from simulator.bank.merchants import BY_ID, Institution
from simulator.bank.world import Policy
from simulator.controls.control import NOT_FOUND, ControlError, OneItem, SomeItems, item_of
from simulator.faults.catalogue import CODES, plaid_error
from simulator.linking import FIRST_TRANSACTIONS, Consent, link
from simulator.rules.conditions import Positive
from simulator.simulator import Simulator

STEPS = {NOT_READY: 0, INITIAL: 1, HISTORICAL: 2}


class Seed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Items to link; `status` is how much of their history is there."""

    count: Natural = 1
    transactions: Natural = 0
    accounts: Positive = 2
    webhook: str | None = None
    institution_id: str | None = None
    user: str = DYNAMIC_USER
    status: Literal["NOT_READY", "INITIAL_UPDATE_COMPLETE", "HISTORICAL_UPDATE_COMPLETE"] = "HISTORICAL_UPDATE_COMPLETE"


class Pace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long each of the two steps takes for Items linked from now on; null: until /control/extract."""

    ms: Natural | None


class Revoke(OneItem, frozen=True):
    """Whose permission is gone, and whether the webhook says so."""

    announce: bool = True


class Fail(OneItem, frozen=True):
    """Which error the Item is in, until it is repaired, and whether the webhook says so."""

    error_code: str = "ITEM_LOGIN_REQUIRED"
    announce: bool = True


class FinishLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user has gone through Link with this token, as `user`, at this bank."""

    link_token: str
    institution_id: str = "ins_109508"
    user: str = DYNAMIC_USER
    transactions: Natural = FIRST_TRANSACTIONS


async def seed(simulator: Simulator, asked: Seed) -> dict[str, Any]:
    """Link Items: `count` of them with `transactions` each."""
    institution = None if asked.institution_id is None else _institution(asked.institution_id)
    made = [_linked(simulator, asked, institution) for _ in range(asked.count)]
    # What was made now stays: without this the collector would walk through all of it again and again.
    gc.freeze()
    return {"items": [_shown(item) for item in made]}


async def listed(simulator: Simulator, asked: SomeItems) -> dict[str, Any]:
    """Tell how Items do."""
    return {"items": [_shown(item) | _condition(item) for item in asked.chosen(simulator)]}


async def extract_step(simulator: Simulator, asked: SomeItems) -> dict[str, Any]:
    """Fetch the next part of the Items' history, and announce it."""
    chosen = asked.chosen(simulator)
    for item in chosen:
        simulator.extract_step(item)
    return {"items": [{"item_id": item.item_id, "status": item.status} for item in chosen]}


async def pace(simulator: Simulator, asked: Pace) -> dict[str, Any]:
    """Set how fast the history of new Items comes."""
    simulator.pace_ms = asked.ms
    return {"ms": asked.ms}


async def fail(simulator: Simulator, asked: Fail) -> dict[str, Any]:
    """Put an Item into an error that only its user can repair."""
    if CODES.get(asked.error_code, ("", 0))[0] != "ITEM_ERROR":
        accepted = [code for code, (kind, _) in CODES.items() if kind == "ITEM_ERROR"]
        raise ControlError(f"{asked.error_code!r} is no error of an Item; accepted: {', '.join(accepted)}")
    item = item_of(simulator, asked.item_id)
    item.error = plaid_error(asked.error_code)
    return {"announced": asked.announce and simulator.webhooks.send(item, "ERROR")}


async def repair(simulator: Simulator, asked: Revoke) -> dict[str, Any]:
    """Let the user log in again, elsewhere than in this client's Link: the webhook says so."""
    item = item_of(simulator, asked.item_id)
    item.error = None
    return {"announced": asked.announce and simulator.webhooks.send(item, "LOGIN_REPAIRED")}


async def revoke(simulator: Simulator, asked: Revoke) -> dict[str, Any]:
    """Let the user take the permission back: the Item is gone."""
    item = item_of(simulator, asked.item_id)
    item.removed = True
    return {"announced": asked.announce and simulator.webhooks.send(item, "USER_PERMISSION_REVOKED")}


async def policy(simulator: Simulator, asked: Policy) -> dict[str, Any]:
    """Decide what Plaid does not publish."""
    simulator.world.policy = asked
    decided: dict[str, Any] = msgspec.to_builtins(asked)
    return decided


async def finish_link(simulator: Simulator, asked: FinishLink) -> dict[str, Any]:
    """Finish Link: a public token for a new Item; in update mode the Item is well again and keeps its token."""
    session = simulator.world.links.pop(asked.link_token, None)
    if session is None or session.expiration <= simulator.world.clock.now():
        raise ControlError(f"no link token {asked.link_token!r} is open", NOT_FOUND)
    if session.item is not None:
        session.item.error = None
        return {"item_id": session.item.item_id, "public_token": None}
    consent = Consent(
        institution=_institution(asked.institution_id),
        username=asked.user,
        products=session.products,
        webhook=session.webhook,
        days_requested=session.days_requested,
        transactions=asked.transactions,
    )
    item = link(simulator, consent)
    return {"item_id": item.item_id, "public_token": simulator.world.public_token(item)}


def _linked(simulator: Simulator, asked: Seed, institution: Institution | None) -> Item:
    world = simulator.world
    item = world.add_item(
        asked.transactions, asked.accounts, institution=institution, webhook=asked.webhook, username=asked.user
    )
    for _ in range(STEPS[asked.status]):
        extract(world, item)
    return item


def _institution(institution_id: str) -> Institution:
    if institution_id not in BY_ID:
        raise ControlError(f"no bank has the institution_id {institution_id!r}; accepted: {', '.join(BY_ID)}")
    return BY_ID[institution_id]


def _shown(item: Item) -> dict[str, Any]:
    return {"item_id": item.item_id, "access_token": item.access_token, "institution_id": item.institution_id}


def _condition(item: Item) -> dict[str, Any]:
    return {
        "removed": item.removed,
        "error_code": item.error and item.error.error_code,
        "status": item.status,
        "webhook": item.webhook,
        "armed": item.armed,
        "transactions": len(item.ledger.standing()),
    }
