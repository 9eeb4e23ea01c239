"""The front door: Plaid's webhooks and the health of the service."""
