"""Plaid: the right environment, its own host, and patience that ends."""

from urllib.parse import urlsplit

from core.plaid.webhook_verification import ALGORITHM
from core.secrets.names import SecretName
from core.settings import PLAID_HOSTS, PlaidEnvironment
from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection


@check("plaid.client_id", Severity.HIGH, "Set PLAID_CLIENT_ID from Plaid's dashboard", needs="settings")
def client_id(inspection: Inspection) -> str | None:
    """Plaid knows who asks."""
    return None if inspection.given.plaid_client_id else "PLAID_CLIENT_ID is missing"


@check("plaid.environment", Severity.HIGH, "Set PLAID_ENV=production", needs="settings", production=True)
def environment(inspection: Inspection) -> str | None:
    """Real users are not synced from the sandbox."""
    sandbox = inspection.given.plaid_env is PlaidEnvironment.SANDBOX
    return "production uses Plaid's sandbox" if sandbox else None


@check("plaid.real_data_in_production_only", Severity.HIGH, "Set PLAID_ENV=sandbox", needs="settings")
def real_data_in_production_only(inspection: Inspection) -> str | None:
    """Real users' data stay behind production's guards."""
    real = inspection.given.plaid_env is PlaidEnvironment.PRODUCTION
    return f"{inspection.environment} uses Plaid's production" if real and not inspection.is_production else None


@check("plaid.own_host", Severity.HIGH, "Remove PLAID_BASE_URL", needs="settings", production=True)
def own_host(inspection: Inspection) -> str | None:
    """Access tokens go to Plaid, or to a proxy that somebody chose."""
    host = inspection.given.plaid_host
    return None if host in PLAID_HOSTS.values() else f"tokens go to {urlsplit(host).hostname}"


@check("plaid.encrypted", Severity.CRITICAL, "Use https:// in PLAID_BASE_URL", needs="settings", production=True)
def encrypted(inspection: Inspection) -> str | None:
    """Access tokens do not go over the network in the clear."""
    return None if inspection.given.plaid_host.startswith("https://") else "PLAID_BASE_URL is not https://"


@check("plaid.timeout", Severity.LOW, "Set PLAID_TIMEOUT_SECONDS to 120 or less", needs="settings")
def timeout(inspection: Inspection) -> str | None:
    """A hanging call does not hold a worker for ever."""
    seconds = inspection.given.plaid_timeout_seconds
    return f"PLAID_TIMEOUT_SECONDS is {seconds:g}" if seconds > 120 else None  # noqa: PLR2004 - the mend names it


@check("plaid.secret_is_not_client_id", Severity.HIGH, "Set PLAID_SECRET to the secret, not to the id", needs="secrets")
def secret_is_not_client_id(inspection: Inspection) -> str | None:
    """The two have not been mixed up."""
    secret = inspection.secrets.get(SecretName.PLAID_SECRET) if inspection.secrets else None
    same = bool(secret) and inspection.settings is not None and secret == inspection.settings.plaid_client_id
    return "PLAID_SECRET is the client id" if same else None


@check("plaid.webhook_algorithm", Severity.CRITICAL, "Pin ES256 in core/plaid/webhook_verification.py")
def webhook_algorithm(_inspection: Inspection) -> str | None:
    """Only the algorithm that Plaid signs with is accepted."""
    return None if ALGORITHM == "ES256" else f"webhooks are accepted under {ALGORITHM}"
