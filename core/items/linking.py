"""Links a user's bank: opens Link, takes over what the user has linked, and tells when it was linked before."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.errors import DuplicateItemError, EncryptionError, SyncError
from core.items.access import GONE, reveal_token
from core.items.duplicates import AccountHint, add_accounts, find_duplicate
from core.items.registration import NewItem, register_item
from core.items.removal import remove_item
from core.items.webhook_registration import register_webhook, want_registration
from core.models import PlaidItem, SyncTrigger
from core.plaid import endpoints
from core.plaid.endpoints import Exchanged, ItemAnswer, LinkRequest, LinkToken
from core.resources import Resources

log = structlog.get_logger()

# A new Item is checked before its first sync; should this process die in between, the dispatcher takes over.
CHECK_TIME = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class PublicToken:
    """What Link hands over on success: the token, and what it tells about institution and accounts."""

    user_id: str
    text: str = field(repr=False)
    institution_id: str | None = None
    accounts: Sequence[AccountHint] = ()
    allow_duplicate: bool = False


async def open_link(
    resources: Resources, user_id: str, actor: str, *, item_id: UUID | None = None, select_accounts: bool = False
) -> LinkToken:
    """Return the token that Link is opened with: for a new Item, or in update mode to repair the one given.

    Raises:
        NotFoundError, ItemNotUsableError: no such Item, or its access has ended.
        SyncError: Plaid refused.
    """
    settings = resources.settings
    token = None if item_id is None else await reveal_token(resources, item_id, "link_update_mode")
    request = LinkRequest(
        user_id,
        settings.plaid_client_name,
        settings.plaid_language,
        settings.plaid_country_codes,
        settings.webhook_url,
        settings.plaid_days_requested,
        token,
        select_accounts,
        settings.plaid_redirect_uri,
    )
    link = await endpoints.create_link_token(resources.plaid, request)
    resource = f"item:{item_id}" if item_id else None
    await log_audit_event(
        AuditEventType.LINK_TOKEN_CREATED,
        "Link was opened",
        database=resources.database,
        context=AuditContext(user_id=user_id),
        actor=actor,
        resource=resource,
    )
    return link


async def link_item(resources: Resources, given: PublicToken, actor: str) -> UUID:
    """Take over what a user has just linked, and return our id of the Item, which is about to be synced.

    The access token is sealed and stored before anything else is done with it. Then the Item's accounts are compared
    with those of the user's other Items: a duplicate is removed again, at Plaid as well.

    Raises:
        DuplicateItemError: the user has these accounts linked already.
        SyncError: Plaid refused the public token.
    """
    if not given.allow_duplicate and given.institution_id and given.accounts:
        # Plaid's advice: look before the exchange, while nothing costs anything.
        async with resources.database.transaction() as session:
            await _refuse_duplicate(session, given.user_id, given.institution_id, given.accounts, None)
    exchanged = await endpoints.exchange_public_token(resources.plaid, given.text)
    item_id = await _store(resources, given, exchanged, actor)
    answer = await _ask_about(resources, exchanged.access_token)
    try:
        await _confirm(resources, item_id, given, answer)
    except DuplicateItemError:
        await remove_item(resources, item_id, actor)
        raise
    await register_webhook(resources, item_id, exchanged.access_token, answer.item.webhook if answer else None)
    await resources.publisher.publish_once(item_id, SyncTrigger.MANUAL)
    return item_id


async def _store(resources: Resources, given: PublicToken, exchanged: Exchanged, actor: str) -> UUID:
    new = NewItem(given.user_id, exchanged.item_id, exchanged.access_token, given.institution_id)
    due = func.now() + CHECK_TIME
    try:
        async with resources.database.transaction() as session:
            item_id = await register_item(session, new, actor, AuditEventType.ITEM_LINKED, next_sync_at=due)
            if item_id is None:
                known = select(PlaidItem.id).where(PlaidItem.plaid_item_id == exchanged.item_id)
                raise DuplicateItemError((await session.execute(known)).scalar_one())
            if resources.settings.webhook_url is not None:
                want_registration(session, item_id, CHECK_TIME)
            return item_id
    except (SQLAlchemyError, OSError, EncryptionError):
        # A token that nobody keeps would be billed for ever.
        await _forget(resources, exchanged)
        raise


async def _forget(resources: Resources, exchanged: Exchanged) -> None:
    try:
        await endpoints.remove_item(resources.plaid, exchanged.access_token)
    except SyncError as error:
        log.exception("item_orphaned", plaid_item_id=exchanged.item_id, error_code=error.error_code)


async def _ask_about(resources: Resources, access_token: str) -> ItemAnswer | None:
    try:
        return await endpoints.get_accounts(resources.plaid, access_token)
    except SyncError as error:
        # It is linked and will be synced: the comparison is a courtesy that may not undo that.
        log.warning("duplicates_not_checked", error_code=error.error_code)
        return None


async def _confirm(resources: Resources, item_id: UUID, given: PublicToken, answer: ItemAnswer | None) -> None:
    async with resources.database.transaction() as session:
        # Of two linkings of one user at once the second sees the accounts of the first.
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"link:{given.user_id}", 0))))
        institution_id = (answer.item.institution_id if answer else None) or given.institution_id
        hints = [AccountHint.of(account) for account in answer.accounts] if answer else []
        if institution_id and not given.allow_duplicate:
            await _refuse_duplicate(session, given.user_id, institution_id, hints, item_id)
        if answer:
            await add_accounts(session, item_id, answer.accounts)
        values = {"institution_id": institution_id, "next_sync_at": func.now(), "sync_requested_at": func.now()}
        await session.execute(
            # A user may have taken it back within these seconds: one that is gone is not looked for again.
            update(PlaidItem).where(PlaidItem.id == item_id, PlaidItem.status.not_in(GONE)).values(values),
            execution_options={"synchronize_session": False},
        )


async def _refuse_duplicate(
    session: AsyncSession, user_id: str, institution_id: str, hints: Sequence[AccountHint], new: UUID | None
) -> None:
    found = await find_duplicate(session, user_id, institution_id, hints, new)
    if found is not None:
        raise DuplicateItemError(found)
