"""/webhook_verification_key/get."""

from typing import Any

from simulator.endpoints.endpoint import PlaidRequest
from simulator.simulator import Simulator


class KeyRequest(PlaidRequest, frozen=True):
    """Asks for the public half of a key."""

    key_id: str


async def webhook_key_get(simulator: Simulator, asked: KeyRequest) -> dict[str, Any]:
    """Answer /webhook_verification_key/get."""
    return {"key": simulator.world.key(asked.key_id).document()}
