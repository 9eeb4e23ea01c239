"""Encrypt access tokens that stand as plain text, and let the table take nothing but sealed ones from then on.

Batches commit by themselves: interrupted, `alembic upgrade head` goes on where it stood. Every token is read
before the first is written, so a value that is no Plaid token stops it with nothing changed. A database without
plain text needs no key for this.

A downgrade keeps the tokens sealed, for the code before this revision reads them. Who really wants plain text back
asks for it: `alembic -x decrypt-tokens=yes downgrade 20250912_0000`.
"""

from contextlib import nullcontext

from alembic import context, op
from sqlalchemy.ext.asyncio import AsyncConnection

from core.audit import AuditEventType
from core.encryption import EncryptionKeyProvider
from core.errors import ConfigurationError, EncryptionError
from core.rotation.legacy import TokenFormat, revealer
from core.rotation.stored_tokens import seal_stored_tokens, unseal_stored_tokens

revision = "20250918_0500"
down_revision = "20250912_0000"
branch_labels = None
depends_on = None

CONSTRAINT = "ck_plaid_items_plaid_access_token_is_sealed"
# `unsealed:` is what development writes with FIELD_ENCRYPTION_ENABLED=false; production refuses to start so.
IS_SEALED = "plaid_access_token LIKE 'sealed:%' OR plaid_access_token LIKE 'unsealed:%'"
ACTOR = "migration:20250918_0500"


async def seal_plain_text(connection: AsyncConnection) -> None:
    try:
        await seal_stored_tokens(
            lambda: nullcontext(connection),
            revealer(TokenFormat.PLAIN, ""),
            EncryptionKeyProvider.load_keyring,
            event=AuditEventType.TOKENS_ENCRYPTED,
            actor=ACTOR,
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"Migration failed to encrypt tokens: {error}") from None
    except EncryptionError as error:
        raise EncryptionError(
            f"Migration failed to encrypt tokens: {error}. Tokens of another library are taken over "
            "by `manna keys import-tokens`"
        ) from None


async def reveal_again(connection: AsyncConnection) -> None:
    await unseal_stored_tokens(connection, EncryptionKeyProvider.load_keyring(), ACTOR)


def upgrade() -> None:
    op.execute("ALTER TABLE plaid_items ADD COLUMN IF NOT EXISTS version integer NOT NULL DEFAULT 0")
    # From here on the old code's plain text is refused, also while the batches run; what is there may stay so far.
    op.execute(f"ALTER TABLE plaid_items DROP CONSTRAINT IF EXISTS {CONSTRAINT}")
    op.execute(f"ALTER TABLE plaid_items ADD CONSTRAINT {CONSTRAINT} CHECK ({IS_SEALED}) NOT VALID")
    with op.get_context().autocommit_block():
        op.run_async(seal_plain_text)
    op.execute(f"ALTER TABLE plaid_items VALIDATE CONSTRAINT {CONSTRAINT}")


def downgrade() -> None:
    # `version` stays: the revision that created the table has it.
    op.execute(f"ALTER TABLE plaid_items DROP CONSTRAINT IF EXISTS {CONSTRAINT}")
    if context.get_x_argument(as_dictionary=True).get("decrypt-tokens") == "yes":
        op.run_async(reveal_again)
