from typing import Any

from simulator.bank.item import Item
from simulator.bank.world import World
from simulator.json_codec import indented
from simulator.rules.conditions import Rules
from simulator.rules.holds import CUT, Holds
from simulator.webhooks.delivery import HEADER, HELD, LOST, SENDING, Courier, Delivery
from simulator.webhooks.faults import (
    DuplicateWebhook,
    ForgedWebhook,
    HeldWebhook,
    LateWebhook,
    LostWebhook,
    ReorderedWebhooks,
    WebhookFault,
)
from simulator.webhooks.forgery import FORGERIES
from simulator.webhooks.payloads import WEBHOOKS
from simulator.webhooks.signing import Keyring

Striking = list[tuple[int, WebhookFault]]


class Webhooks:
    """Writes webhooks and hands them to the courier, through the faults that strike them."""

    def __init__(self, world: World, rules: Rules, holds: Holds) -> None:
        self.keyring = Keyring()
        self.courier = Courier(world, self.keyring)
        self._world = world
        self._rules = rules
        self._holds = holds
        self._kept_back: dict[int, list[tuple[Delivery, bytes]]] = {}

    def sync_updates_available(self, item: Item) -> bool:
        """Announce changes, if the Item has an address and was synced before; tell whether it was announced."""
        return item.armed and self.send(item, "SYNC_UPDATES_AVAILABLE")

    def send(self, item: Item, code: str, fields: dict[str, Any] | None = None) -> bool:
        """Send a webhook of an Item, with `fields` over the usual ones; False when it has no address."""
        if item.webhook is None:
            return False
        kind, payload = WEBHOOKS[code]
        document = {"webhook_type": kind, "webhook_code": code, "item_id": item.item_id}
        document |= payload(item, self._world.clock) | (fields or {}) | {"environment": "sandbox"}
        item.last_webhook = (self._world.clock.now(), code)
        self._dispatch(item, code, indented(document))
        return True

    def _dispatch(self, item: Item, code: str, body: bytes) -> None:
        striking = self._rules.striking(WebhookFault, lambda fault: fault.fits(item, code))
        forged = [fault for _, fault in striking if isinstance(fault, ForgedWebhook)]
        for fault in forged:
            self._forge(item, code, body, fault.forgery)
        if any(fault.instead for fault in forged):
            return
        delivery = self.courier.open(item, code)
        back = [(fault_id, fault) for fault_id, fault in striking if isinstance(fault, ReorderedWebhooks)]
        if any(isinstance(fault, LostWebhook) for _, fault in striking):
            self.courier.become(delivery, LOST)
        elif back:
            self._keep_back(delivery, body, *back[0])
        else:
            self.courier.run(self._deliver(item, delivery, body, striking))

    def _forge(self, item: Item, code: str, body: bytes, forgery: str) -> None:
        forged, headers = FORGERIES[forgery](self.keyring, body)
        delivery = self.courier.open(item, code, forgery=forgery)
        self.courier.run(self.courier.deliver_once(delivery, forged, headers))

    def _keep_back(self, delivery: Delivery, body: bytes, fault_id: int, fault: WebhookFault) -> None:
        self.courier.become(delivery, HELD)
        kept = self._kept_back.setdefault(fault_id, [])
        kept.append((delivery, body))
        if len(kept) == fault.times:
            for one, _ in self._kept_back.pop(fault_id):
                self.courier.become(one, SENDING)
            self.courier.run(self._deliver_reversed(kept))

    async def _deliver_reversed(self, kept: list[tuple[Delivery, bytes]]) -> None:
        for delivery, body in reversed(kept):
            await self.courier.deliver(delivery, body)

    async def _deliver(self, item: Item, delivery: Delivery, body: bytes, striking: Striking) -> None:
        for fault_id, fault in striking:
            if isinstance(fault, HeldWebhook) and not await self._hold(fault_id, delivery):
                return
        age = sum(fault.seconds for _, fault in striking if isinstance(fault, LateWebhook))
        token = self.keyring.current().sign(body, age)
        for _, fault in striking:
            if isinstance(fault, DuplicateWebhook):
                self._copy(item, delivery, body, fault, token)
        await self.courier.deliver(delivery, body, token)

    async def _hold(self, fault_id: int, delivery: Delivery) -> bool:
        self.courier.become(delivery, HELD)
        how = await self._holds.keep(fault_id, delivery.item_id, {"webhook_code": delivery.code})
        self.courier.become(delivery, LOST if how == CUT else SENDING)
        return how != CUT

    def _copy(self, item: Item, delivery: Delivery, body: bytes, fault: DuplicateWebhook, token: str) -> None:
        for _ in range(fault.copies):
            headers = {HEADER: token if fault.same_token else self.keyring.current().sign(body)}
            copied = self.courier.open(item, delivery.code, is_copy=True)
            self.courier.run(self.courier.deliver_once(copied, body, headers))
