"""What can happen to a webhook on its way."""

from typing import Literal

from simulator.bank.changes import Natural
from simulator.bank.item import Item
from simulator.rules.conditions import Conditions, Positive


class WebhookFault(Conditions, frozen=True):
    """A fault that strikes webhooks, of one `code` when it is given."""

    code: str | None = None

    def fits(self, item: Item, code: str) -> bool:
        """Tell whether the webhook meets every condition."""
        return self.code in (None, code) and self.fits_item(item)


class HeldWebhook(WebhookFault, tag="webhook_hold", frozen=True):
    """Hold it until it is released; released with `cut` it is lost."""


class LostWebhook(WebhookFault, tag="webhook_lost", frozen=True):
    """Never send it."""


class DuplicateWebhook(WebhookFault, tag="webhook_duplicate", frozen=True):
    """Send it `copies` more times; `same_token` sends the very same bytes and signature."""

    copies: Positive = 1
    same_token: bool = False


class LateWebhook(WebhookFault, tag="webhook_late", frozen=True):
    """Date its first attempt's signature back, as if it had been `seconds` on its way; retries are signed anew."""

    seconds: Natural = 600


class ReorderedWebhooks(WebhookFault, tag="webhook_reorder", frozen=True):
    """Keep the struck ones until all `times` of them are there, then send them one by one, last first."""

    times: Positive = 2


class ForgedWebhook(WebhookFault, tag="webhook_forged", frozen=True):
    """Send a forged one besides, or `instead` of, the true one."""

    forgery: Literal[
        "no_header", "garbage", "signature", "body", "stale", "alg_none", "hs256", "other_key", "unknown_key"
    ] = "signature"
    instead: bool = False


AnyWebhookFault = DuplicateWebhook | ForgedWebhook | HeldWebhook | LateWebhook | LostWebhook | ReorderedWebhooks
