"""Field encryption: a key that is one, a cipher that refuses, and a column that nothing plain gets into."""

from sqlalchemy.exc import DontWrapMixin

from core.encryption import EncryptedString, EncryptionKeyProvider, Keyring
from core.encryption.cipher import context_of
from core.errors import ConfigurationError, EncryptionError
from core.models import PlaidItem
from core.secrets.names import SecretName
from core.secrets.strength import weakness
from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection

GENERATE = "Set MANNA_ENCRYPTION_KEY to what `manna keys generate` prints"
PLACE = context_of("plaid_items", "plaid_access_token", "a")
ELSEWHERE = context_of("plaid_items", "plaid_access_token", "b")


def _keyring(inspection: Inspection) -> Keyring:
    assert inspection.secrets is not None  # noqa: S101 - `needs` has seen to it
    return EncryptionKeyProvider.load_keyring(inspection.settings, inspection.secrets.get)


@check("encryption.key_present", Severity.CRITICAL, GENERATE, needs="secrets")
def key_present(inspection: Inspection) -> str | None:
    """Without a key of its own, a process seals nothing."""
    present = inspection.secrets and inspection.secrets.get(SecretName.ENCRYPTION_KEY)
    return None if present else "Encryption not initialized: there is no encryption_key"


@check("encryption.key_strong", Severity.CRITICAL, GENERATE, needs="secrets")
def key_strong(inspection: Inspection) -> str | None:
    """32 random bytes, no text and no pattern."""
    key = inspection.secrets.get(SecretName.ENCRYPTION_KEY) if inspection.secrets else None
    reason = weakness(SecretName.ENCRYPTION_KEY, key) if key else None
    return f"MANNA_ENCRYPTION_KEY {reason}" if reason else None


@check(
    "encryption.previous_keys_strong", Severity.HIGH, "Rotate with `manna keys rotate`, then drop it", needs="secrets"
)
def previous_keys_strong(inspection: Inspection) -> str | None:
    """Rows under an old key are as safe as that key."""
    keys = inspection.secrets.get(SecretName.ENCRYPTION_KEYS_PREVIOUS) if inspection.secrets else None
    reason = weakness(SecretName.ENCRYPTION_KEYS_PREVIOUS, keys) if keys else None
    return f"MANNA_ENCRYPTION_KEYS_PREVIOUS {reason}" if reason else None


@check("encryption.round_trip", Severity.CRITICAL, GENERATE, needs="secrets")
def round_trip(inspection: Inspection) -> str | None:
    """What was sealed opens, and only where it belongs."""
    try:
        keyring = _keyring(inspection)
        sealed = keyring.seal("probe", PLACE)
        if keyring.open(sealed, PLACE) != "probe":
            return "a sealed value does not open to what it was"
        keyring.open(sealed, ELSEWHERE)
    except ConfigurationError as error:
        return str(error)
    except EncryptionError:
        return None
    return "a sealed value opens in another row"


@check("encryption.column_sealed", Severity.CRITICAL, "Declare plaid_access_token as EncryptedString")
def column_sealed(_inspection: Inspection) -> str | None:
    """The type of the token's column refuses plain text, without an error that holds it."""
    kind = PlaidItem.__table__.c.plaid_access_token.type
    if not isinstance(kind, EncryptedString):
        return f"plaid_access_token is {kind!r}"
    try:
        kind.process_bind_param("plain", None)  # type: ignore[arg-type]  # the dialect is not looked at
    except EncryptionError as error:
        return None if isinstance(error, DontWrapMixin) and "plain" not in error.args else "the refusal holds the text"
    return "the column takes plain text"


@check(
    "encryption.no_plaintext_rows",
    Severity.CRITICAL,
    "Run `alembic upgrade head`: the migration seals what is left",
    needs="schema",
)
def no_plaintext_rows(inspection: Inspection) -> str | None:
    """Every stored token is an envelope."""
    count = inspection.schema.plaintext_tokens if inspection.schema else 0
    return f"{count} rows of plaid_items hold a token that is not sealed" if count else None
