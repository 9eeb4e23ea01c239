"""Takes over Items that were linked elsewhere: each with its token, sealed before it is stored."""

from collections.abc import Iterable, Iterator
from itertools import islice
from uuid import UUID

import msgspec
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.database import Database
from core.encryption.column import sealed_values
from core.identity import new_id
from core.models import PlaidItem

BATCH = 500


class NewItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An Item to register: one line of an import file. The token never appears in its repr."""

    user_id: str
    plaid_item_id: str
    access_token: str
    institution_id: str | None = None

    def __repr__(self) -> str:
        return f"NewItem(user_id={self.user_id!r}, plaid_item_id={self.plaid_item_id!r})"


async def register_items(database: Database, items: Iterable[NewItem], actor: str) -> list[UUID]:
    """Register Items, due at once, and return the ids of those that were new; those already there stay as they are.

    Commits in batches of 500: after an abort the same file is simply given again.
    """
    registered: list[UUID] = []
    for batch in _batches(items):
        async with database.transaction() as session:
            for item in batch:
                registered += await _register(session, item, actor)
    return registered


async def _register(session: AsyncSession, new: NewItem, actor: str) -> list[UUID]:
    row = PlaidItem(
        id=new_id(), user_id=new.user_id, plaid_item_id=new.plaid_item_id, institution_id=new.institution_id
    )
    row.plaid_access_token = new.access_token
    statement = insert(PlaidItem).values(sealed_values(row)).on_conflict_do_nothing(index_elements=["plaid_item_id"])
    if (await session.execute(statement.returning(PlaidItem.id))).first() is None:
        return []
    context = AuditContext(user_id=new.user_id, institution_id=new.institution_id)
    await log_audit_event(
        AuditEventType.ITEM_REGISTERED,
        "An Item was registered",
        session=session,
        context=context,
        actor=actor,
        resource=f"item:{row.id}",
    )
    return [row.id]


def _batches(items: Iterable[NewItem]) -> Iterator[list[NewItem]]:
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch
