"""Secrets by name, from the providers that the deployment names, in their order of precedence."""

from core.secrets.manager import SecretsManager, get_secret, secrets_manager

__all__ = ["SecretsManager", "get_secret", "secrets_manager"]
