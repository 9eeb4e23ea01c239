"""What became of the webhooks."""

from dataclasses import asdict
from typing import Any

from simulator.controls.control import Nothing
from simulator.simulator import Simulator


async def webhooks(simulator: Simulator, _asked: Nothing) -> dict[str, Any]:
    """Return what became of every webhook, once none is under way."""
    await simulator.webhooks.idle()
    return {"webhooks": [asdict(delivery) for delivery in simulator.webhooks.deliveries]}
