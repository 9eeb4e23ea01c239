"""The control API, by path below /control."""

from typing import Any

from simulator.controls import faults, items, webhooks
from simulator.controls.control import Control, Nothing
from simulator.faults import AnyFault

CONTROLS: dict[str, Control[Any]] = {
    "/control/items": Control(items.Seed, items.seed),
    "/control/evolve": Control(items.Evolve, items.evolve),
    "/control/ledger": Control(items.Truth, items.ledger),
    "/control/webhooks": Control(Nothing, webhooks.webhooks),
    "/control/faults": Control(AnyFault, faults.add),
    "/control/faults/list": Control(Nothing, faults.listed),
    "/control/faults/clear": Control(faults.Clear, faults.clear),
    "/control/held": Control(faults.Await, faults.held),
    "/control/release": Control(faults.Release, faults.release),
}

__all__ = ["CONTROLS"]
