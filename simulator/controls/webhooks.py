"""What became of the webhooks, when they are sent again, and the keys that sign them."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

import msgspec

from simulator.controls.control import NOT_FOUND, NOT_IN_TIME, ControlError, Nothing, OneItem, item_of
from simulator.simulator import Simulator
from simulator.webhooks.payloads import WEBHOOKS

Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which webhooks, whether to wait until none is being sent, and whether to forget all after the answer."""

    item_id: str | None = None
    wait: bool = True
    timeout: Seconds = 60
    clear: bool = False


class Send(OneItem, frozen=True, kw_only=True):
    """A webhook to send, with `fields` over the usual ones."""

    webhook_code: str
    fields: dict[str, Any] = msgspec.field(default_factory=dict)


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the delays between attempts are scaled, and how long an answer is waited for."""

    scale: Seconds = 1
    answer_seconds: Annotated[float, msgspec.Meta(gt=0)] = 10


class Expire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which keys expire: all but the newest when none is named."""

    key_id: str | None = None


async def deliveries(simulator: Simulator, asked: Ask) -> dict[str, Any]:
    """Return what became of webhooks."""
    courier = simulator.webhooks.courier
    if asked.wait:
        try:
            await asyncio.wait_for(courier.idle(), asked.timeout)
        except TimeoutError:
            raise ControlError(f"webhooks are still being sent after {asked.timeout:g} s", NOT_IN_TIME) from None
    found = [asdict(one) for one in courier.deliveries if asked.item_id in (None, one.item_id)]
    if asked.clear:
        courier.deliveries.clear()
    return {"webhooks": found}


async def send(simulator: Simulator, asked: Send) -> dict[str, Any]:
    """Send any webhook."""
    if asked.webhook_code not in WEBHOOKS:
        raise ControlError(f"{asked.webhook_code!r} is no webhook code; accepted: {', '.join(WEBHOOKS)}")
    item = item_of(simulator, asked.item_id)
    return {"sent": simulator.webhooks.send(item, asked.webhook_code, asked.fields)}


async def schedule(simulator: Simulator, asked: Schedule) -> dict[str, Any]:
    """Scale the delays of attempts that are still to come."""
    simulator.webhooks.courier.retry_scale = asked.scale
    simulator.webhooks.courier.answer_seconds = asked.answer_seconds
    return {"scale": asked.scale, "answer_seconds": asked.answer_seconds}


async def retry(simulator: Simulator, _asked: Nothing) -> dict[str, Any]:
    """Send at once whatever waits to be sent again."""
    return {"retried": simulator.webhooks.courier.retry_now()}


async def keys(simulator: Simulator, _asked: Nothing) -> dict[str, Any]:
    """Return the public halves of all keys; the last one signs."""
    return {"keys": [key.document() for key in simulator.webhooks.keyring.keys]}


async def rotate(simulator: Simulator, _asked: Nothing) -> dict[str, Any]:
    """Sign with a new key from now on."""
    return {"key": simulator.webhooks.keyring.rotate().document()}


async def expire(simulator: Simulator, asked: Expire) -> dict[str, Any]:
    """Let keys expire; one that still signs goes on signing, and a receiver has to refuse it."""
    keyring = simulator.webhooks.keyring
    chosen = keyring.keys[:-1] if asked.key_id is None else [key for key in keyring.keys if key.key_id == asked.key_id]
    if asked.key_id is not None and not chosen:
        raise ControlError(f"no key has the key_id {asked.key_id!r}", NOT_FOUND)
    for key in chosen:
        key.expire()
    return {"keys": [key.document() for key in chosen]}
