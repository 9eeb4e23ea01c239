"""Takes over Items that were linked elsewhere: each with its token, sealed before it is stored."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.database import Database
from core.encryption.column import sealed_values
from core.identity import new_id
from core.models import PlaidItem, WebhookEvent

BATCH = 500


# PostgreSQL keeps no NUL, and nothing of Plaid's or of a user's id holds a control character.
WORD = r"^[^\x00-\x1f\x7f]+\Z"
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=WORD)]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern=WORD)]


class NewItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An Item to register: one line of an import file. The token never appears in its repr."""

    user_id: Word
    plaid_item_id: Word
    access_token: Token
    institution_id: Word | None = None

    def __repr__(self) -> str:
        return f"NewItem(user_id={self.user_id!r}, plaid_item_id={self.plaid_item_id!r})"


async def count_known(database: Database, items: Sequence[NewItem]) -> int:
    """Return how many of these Items are registered already."""
    known = 0
    async with database.connection() as connection:
        for batch in _batches(items):
            ids = [item.plaid_item_id for item in batch]
            query = select(func.count()).where(PlaidItem.plaid_item_id.in_(ids))
            known += (await connection.execute(query)).scalar_one()
    return known


async def register_items(
    database: Database, items: Iterable[NewItem], actor: str, on_progress: Callable[[int], None] = lambda _: None
) -> list[UUID]:
    """Register Items, due at once, and return the ids of those that were new; those already there stay as they are.

    Commits in batches of 500, and tells `on_progress` of each: after an abort the same file is simply given again.
    """
    registered: list[UUID] = []
    for batch in _batches(items):
        async with database.transaction() as session:
            for item in batch:
                item_id = await register_item(session, item, actor)
                registered += [] if item_id is None else [item_id]
        on_progress(len(batch))
    return registered


async def register_item(
    session: AsyncSession,
    new: NewItem,
    actor: str,
    event_type: AuditEventType = AuditEventType.ITEM_REGISTERED,
    **columns: Any,
) -> UUID | None:
    """Register one Item in the caller's transaction and return its id, None when Plaid's id is there already.

    Webhooks that came before the Item was known are told from now on to be its own.
    """
    row = PlaidItem(
        id=new_id(), user_id=new.user_id, plaid_item_id=new.plaid_item_id, institution_id=new.institution_id, **columns
    )
    row.plaid_access_token = new.access_token
    statement = insert(PlaidItem).values(sealed_values(row)).on_conflict_do_nothing(index_elements=["plaid_item_id"])
    if (await session.execute(statement.returning(PlaidItem.id))).first() is None:
        return None
    early = (WebhookEvent.plaid_item_id == new.plaid_item_id, WebhookEvent.item_id.is_(None))
    await session.execute(
        update(WebhookEvent).where(*early).values(item_id=row.id), execution_options={"synchronize_session": False}
    )
    context = AuditContext(user_id=new.user_id, institution_id=new.institution_id)
    await log_audit_event(
        event_type, "An Item was registered", session=session, context=context, actor=actor, resource=f"item:{row.id}"
    )
    return row.id


def _batches(items: Iterable[NewItem]) -> Iterator[list[NewItem]]:
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch
