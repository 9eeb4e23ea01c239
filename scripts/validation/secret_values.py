"""Secrets: there, strong, each for one use, and kept where others cannot read them."""

import stat

from sqlalchemy import make_url

from core.secrets.manager import PROVIDERS
from core.secrets.names import SecretName, variable_of
from core.secrets.strength import weaknesses
from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection

SETUP = "python -m scripts.setup_security makes one"


@check(
    "secrets.provider_known",
    Severity.CRITICAL,
    f"Set SECRETS_PROVIDER to some of {', '.join(PROVIDERS)}",
    needs="settings",
)
def provider_known(inspection: Inspection) -> str | None:
    """Every provider of the order exists."""
    unknown = [name for name in inspection.given.secrets_provider if name not in PROVIDERS]
    return f"SECRETS_PROVIDER names {', '.join(unknown)}" if unknown else None


@check("secrets.provider_named", Severity.HIGH, "Set SECRETS_PROVIDER, or leave it out for env", needs="settings")
def provider_named(inspection: Inspection) -> str | None:
    """There is somewhere to look."""
    return None if inspection.given.secrets_provider else "SECRETS_PROVIDER is empty: no secret will be found"


@check("secrets.provider_answers", Severity.CRITICAL, "See the reason; the providers' log-in comes first")
def provider_answers(inspection: Inspection) -> str | None:
    """The providers can be asked."""
    return None if inspection.secrets is not None else inspection.absent.get("secrets", "the secrets cannot be read")


@check(
    "secrets.jwt_signing_key_present", Severity.HIGH, f"Set JWT_SIGNING_KEY; {SETUP}", needs="secrets", production=True
)
def jwt_signing_key_present(inspection: Inspection) -> str | None:
    """The API can verify tokens."""
    return _absence(inspection, SecretName.JWT_SIGNING_KEY)


@check("secrets.plaid_secret_present", Severity.HIGH, "Set PLAID_SECRET from Plaid's dashboard", needs="secrets")
def plaid_secret_present(inspection: Inspection) -> str | None:
    """Plaid answers us."""
    return _absence(inspection, SecretName.PLAID_SECRET)


@check(
    "secrets.database_password_present",
    Severity.HIGH,
    "Set DATABASE_PASSWORD, or use a client certificate",
    needs="settings",
    production=True,
)
def database_password_present(inspection: Inspection) -> str | None:
    """The database lets in by password, not by being near."""
    if make_url(inspection.given.database_url).password or inspection.secrets is None:
        return None
    return _absence(inspection, SecretName.DATABASE_PASSWORD)


def _absence(inspection: Inspection, name: SecretName) -> str | None:
    present = inspection.secrets and inspection.secrets.get(name)
    return None if present else f"{variable_of(name)} is missing"


@check("secrets.strong", Severity.CRITICAL, f"Replace it by a random one; {SETUP}", needs="secrets", production=True)
def strong(inspection: Inspection) -> str | None:
    """No placeholder, default, pattern or short one."""
    found = [problem for problem in _problems(inspection) if "the same value" not in problem]
    return "; ".join(found) or None


@check("secrets.one_use_each", Severity.HIGH, "Give each use a secret of its own", needs="secrets")
def one_use_each(inspection: Inspection) -> str | None:
    """Whoever learns one has not learnt two."""
    found = [problem for problem in _problems(inspection) if "the same value" in problem]
    return "; ".join(found) or None


def _problems(inspection: Inspection) -> list[str]:
    return list(weaknesses(inspection.secrets)) if inspection.secrets else []


@check(
    "secrets.not_in_database_url",
    Severity.MEDIUM,
    "Take the password out of DATABASE_URL and set DATABASE_PASSWORD: only then can it be rotated without a restart",
    needs="settings",
    production=True,
)
def not_in_database_url(inspection: Inspection) -> str | None:
    """An address is shown and logged by more programs than a password."""
    return "DATABASE_URL holds the password" if make_url(inspection.given.database_url).password else None


@check("secrets.files_closed", Severity.HIGH, "chmod 600 the file")
def files_closed(inspection: Inspection) -> str | None:
    """No secret's file is open to other users."""
    return (
        f"readable by others: {', '.join(inspection.files.readable_secrets)}"
        if inspection.files.readable_secrets
        else None
    )


@check("secrets.dotenv_closed", Severity.HIGH, "chmod 600 .env")
def dotenv_closed(inspection: Inspection) -> str | None:
    """`.env` belongs to its owner alone."""
    mode = inspection.files.dotenv_mode
    if mode is None or not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    return f".env has mode {stat.S_IMODE(mode):04o}"


@check("secrets.no_dotenv", Severity.MEDIUM, "Remove .env: production does not read it", production=True)
def no_dotenv(inspection: Inspection) -> str | None:
    """What production does not read shall not lie there."""
    return ".env lies in the project's directory" if inspection.files.dotenv_mode is not None else None


@check(
    "secrets.not_in_arguments",
    Severity.HIGH,
    "Pass it by environment or file: everybody can read a command line",
    needs="secrets",
)
def not_in_arguments(inspection: Inspection) -> str | None:
    """No secret stands on a command line."""
    known = [inspection.secrets.get(name) or "" for name in inspection.secrets.names()] if inspection.secrets else []
    shown = any(len(value) > 7 and value in part for value in known for part in inspection.process.argv)  # noqa: PLR2004 - shorter ones match by chance
    return "a secret stands in this process's arguments" if shown else None


@check("secrets.refreshed_in_time", Severity.LOW, "Set SECRETS_REFRESH_SECONDS to 60 or less", needs="settings")
def refreshed_in_time(inspection: Inspection) -> str | None:
    """A rotated secret counts within a minute."""
    seconds = inspection.given.secrets_refresh_seconds
    return f"SECRETS_REFRESH_SECONDS is {seconds:g}" if seconds > 60 else None  # noqa: PLR2004 - the mend names it


@check(
    "secrets.vault_encrypted",
    Severity.CRITICAL,
    "Set VAULT_ADDR to an https:// address",
    needs="settings",
    production=True,
)
def vault_encrypted(inspection: Inspection) -> str | None:
    """No secret comes over the network in the clear."""
    settings = inspection.given
    plain = "vault" in settings.secrets_provider and not settings.vault_addr.startswith("https://")
    return "VAULT_ADDR is not https://" if plain else None
