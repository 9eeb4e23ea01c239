"""Webhooks: what they say, how they are signed, sent and sent again, and how they can be spoiled."""

from simulator.webhooks.faults import AnyWebhookFault
from simulator.webhooks.post import Webhooks
from simulator.webhooks.signing import Keyring

__all__ = ["AnyWebhookFault", "Keyring", "Webhooks"]
