"""The control API, by path."""

from typing import Any

from simulator.bank.world import Policy
from simulator.controls import faults, items, ledgers, traffic, webhooks
from simulator.controls.control import Control, Nothing, OneItem, SomeItems
from simulator.traffic import Latency
from simulator.traffic.limits import LimitRules

CONTROLS: dict[str, Control[Any]] = {
    "/control/items": Control(items.Seed, items.seed),
    "/control/items/list": Control(SomeItems, items.listed),
    "/control/items/fail": Control(items.Fail, items.fail),
    "/control/items/repair": Control(items.Revoke, items.repair),
    "/control/items/revoke": Control(items.Revoke, items.revoke),
    "/control/policy": Control(Policy, items.policy),
    "/control/link": Control(items.FinishLink, items.finish_link),
    "/control/pace": Control(items.Pace, items.pace),
    "/control/extract": Control(SomeItems, items.extract_step),
    "/control/evolve": Control(ledgers.Evolve, ledgers.change),
    "/control/churn": Control(ledgers.ChurnAccounts, ledgers.churn_accounts),
    "/control/ledger": Control(OneItem, ledgers.truth),
    "/control/webhooks": Control(webhooks.Ask, webhooks.deliveries),
    "/control/webhooks/send": Control(webhooks.Send, webhooks.send),
    "/control/webhooks/schedule": Control(webhooks.Schedule, webhooks.schedule),
    "/control/webhooks/retry": Control(Nothing, webhooks.retry),
    "/control/keys": Control(Nothing, webhooks.keys),
    "/control/keys/rotate": Control(Nothing, webhooks.rotate),
    "/control/keys/expire": Control(webhooks.Expire, webhooks.expire),
    "/control/faults": Control(faults.AnyFault, faults.add),
    "/control/faults/list": Control(Nothing, faults.listed),
    "/control/faults/clear": Control(faults.Clear, faults.clear),
    "/control/held": Control(faults.Await, faults.held),
    "/control/release": Control(faults.Release, faults.release),
    "/control/requests": Control(traffic.Ask, traffic.requests),
    "/control/limits": Control(LimitRules, traffic.limits),
    "/control/latency": Control(Latency, traffic.latency),
    "/control/clock": Control(traffic.Advance, traffic.clock),
}

__all__ = ["CONTROLS"]
