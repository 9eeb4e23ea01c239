"""The endpoint of /webhook_verification_key."""

from typing import Any

from simulator.endpoints.endpoint import PlaidRequest
from simulator.errors import invalid_input
from simulator.simulator import Simulator


class KeyRequest(PlaidRequest, frozen=True, kw_only=True):
    """Asks for the public half of a key."""

    key_id: str


async def webhook_key_get(simulator: Simulator, asked: KeyRequest) -> dict[str, Any]:
    """Answer /webhook_verification_key/get."""
    key = simulator.webhooks.keyring.find(asked.key_id)
    if key is None:
        raise invalid_input("INVALID_WEBHOOK_VERIFICATION_KEY_ID", "invalid key_id provided")
    return {"key": key.document()}
