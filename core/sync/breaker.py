"""Circuit breakers: one for each institution, one for our own standing with Plaid.

Failures of one scope without a success between them open its breaker. While it is open its Items are held back, and
one of them at a time is tried; the first success lets the others go, spread over some minutes so that the
institution is not knocked over by its own return. State is in the database, so that every worker sees the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import Select, Update, case, delete, false, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.outbox import Event, log_audit_events
from core.errors import ClientRefusedError, SyncError, Verdict
from core.identity import jittered
from core.models import BreakerState, CircuitBreaker, ItemSchedule, PlaidItem

log = structlog.get_logger()

PLAID = "plaid"
INSTITUTION = "institution:"
FIRST_PROBE_SECONDS = 60
LONGEST_PROBE_SECONDS = 1800
SEVERAL = 3
# A wrong token is one Item's trouble, a row of them is a wrong environment.
MANY = 10

Execute = AsyncSession | AsyncConnection


@dataclass(frozen=True, slots=True)
class OpenBreakers:
    """The scopes that are held back, each with the Item that is being tried in it, if any."""

    probes: dict[str, UUID | None]

    def holds(self, item: PlaidItem) -> bool:
        """Tell whether the Item must not be synced now; who is tried for one scope is let through by every other."""
        # Otherwise two open breakers would hold back each other's probes for ever.
        if item.id in self.probes.values():
            return False
        return PLAID in self.probes or f"{INSTITUTION}{item.institution_id}" in self.probes

    @property
    def institutions(self) -> list[str]:
        """The institutions among them."""
        return [scope.removeprefix(INSTITUTION) for scope in self.probes if scope.startswith(INSTITUTION)]


async def open_breakers(connection: Execute) -> OpenBreakers:
    """Return what is held back now."""
    query = select(CircuitBreaker.scope, CircuitBreaker.probe_item_id).where(CircuitBreaker.state == BreakerState.OPEN)
    return OpenBreakers({row.scope: row.probe_item_id for row in await connection.execute(query)})


def scope_of(error: SyncError, institution_id: str | None) -> tuple[str, int] | None:
    """Return whose breaker a failure counts for, and how many of them open it; None if it is the Item's own affair."""
    if isinstance(error, ClientRefusedError):
        return PLAID, 1
    if error.error_code == "INVALID_ACCESS_TOKEN":
        return PLAID, MANY
    if error.verdict is Verdict.INSTITUTION_IS_DOWN and institution_id:
        return f"{INSTITUTION}{institution_id}", SEVERAL
    return None


async def count_failure(connection: Execute, error: SyncError, institution_id: str | None) -> bool:
    """Count a failure where it belongs, and tell whether it is what opened the breaker."""
    found = scope_of(error, institution_id)
    if found is None:
        return False
    scope, enough = found
    row = CircuitBreaker
    # The database's clock throughout, which `claim_probes` reads as well.
    now = func.now()
    opens = row.failures + 1 >= enough
    counted = insert(row).values(
        scope=scope,
        state=BreakerState.OPEN if enough == 1 else BreakerState.COUNTING,
        error_type=error.error_type,
        error_code=error.error_code,
        opened_at=now if enough == 1 else None,
        probe_at=now + timedelta(seconds=jittered(FIRST_PROBE_SECONDS, 0.25)),
    )
    counted = counted.on_conflict_do_update(
        index_elements=["scope"],
        set_={
            "failures": row.failures + 1,
            "error_type": error.error_type,
            "error_code": error.error_code,
            "state": case((opens, literal(BreakerState.OPEN.value)), else_=row.state),
            "opened_at": case((opens, func.coalesce(row.opened_at, now)), else_=row.opened_at),
            "updated_at": now,
        },
    )
    is_opened_now = (row.state == BreakerState.OPEN) & (row.opened_at == now)
    is_new: bool = (await connection.execute(counted.returning(func.coalesce(is_opened_now, false())))).scalar_one()
    if is_new:
        log.error("breaker_opened", scope=scope, error_type=error.error_type, error_code=error.error_code)
        context = AuditContext(error_type=error.error_type, error_code=error.error_code)
        what, message = AuditEventType.BREAKER_OPENED, "A breaker opened: its Items wait"
        await log_audit_event(what, message, session=connection, context=context, resource=scope)
    return is_new


async def count_success(connection: AsyncConnection, institution_ids: Iterable[str | None]) -> list[str]:
    """Forget the failures of these institutions and of our own standing, and return the scopes that closed by it."""
    scopes = [PLAID, *(f"{INSTITUTION}{one}" for one in set(institution_ids) if one)]
    known = CircuitBreaker.scope.in_(scopes)
    # As a rule there is none, and one look at an empty table is all that it costs.
    if not (await connection.execute(select(CircuitBreaker.scope).where(known).limit(1))).first():
        return []
    await connection.execute(delete(CircuitBreaker).where(known, CircuitBreaker.state == BreakerState.COUNTING))
    values = {"state": BreakerState.RELEASING, "probe_item_id": None, "failures": 0, "opened_at": None}
    released = update(CircuitBreaker).where(known, CircuitBreaker.state == BreakerState.OPEN).values(values)
    closed = [scope for (scope,) in await connection.execute(released.returning(CircuitBreaker.scope))]
    for scope in closed:
        log.warning("breaker_closed", scope=scope)
    what, message = AuditEventType.BREAKER_CLOSED, "A breaker closed: its Items are released"
    await log_audit_events(connection, [Event(what, message, resource=scope) for scope in closed])
    return closed


async def claim_probes(connection: AsyncConnection) -> list[UUID]:
    """Choose an Item to try for each open breaker whose time it is, and return those Items."""
    row = CircuitBreaker
    open_for = func.extract("epoch", func.now() - row.opened_at)
    seconds = func.least(open_for / 2 + jittered(FIRST_PROBE_SECONDS, 0.25), LONGEST_PROBE_SECONDS)
    rest = func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    due = (
        update(row)
        .where(row.state == BreakerState.OPEN, row.probe_at <= func.now())
        .values(probe_at=func.now() + rest, probe_item_id=None)
    )
    scopes = [scope for (scope,) in await connection.execute(due.returning(row.scope))]
    chosen: list[UUID] = []
    for scope in scopes:
        if item_id := (await connection.execute(_candidate(scope))).scalar_one_or_none():
            await connection.execute(update(row).where(row.scope == scope).values(probe_item_id=item_id))
            chosen.append(item_id)
    return chosen


def _candidate(scope: str) -> Select[UUID]:
    if scope == PLAID:
        due = select(ItemSchedule.item_id).where(ItemSchedule.due_at.is_not(None))
        return due.order_by(ItemSchedule.due_at).limit(1)
    item = PlaidItem
    of_bank = (item.institution_id == scope.removeprefix(INSTITUTION), item.parked_at.is_not(None))
    # One that fails for its bank is parked anew, and so goes to the end of the row.
    return select(item.id).where(*of_bank, item.next_sync_at.is_not(None)).order_by(item.parked_at).limit(1)


async def release_parked(connection: AsyncConnection, spread_seconds: float, limit: int) -> int:
    """Let up to `limit` held-back Items of closed breakers go, spread over `spread_seconds`, and return how many."""
    row = CircuitBreaker
    closing = select(row.scope).where(row.state == BreakerState.RELEASING).with_for_update(skip_locked=True)
    released = 0
    for (scope,) in (await connection.execute(closing)).all():
        let_go = await connection.execute(_release(scope.removeprefix(INSTITUTION), spread_seconds, limit))
        released += let_go.rowcount
        if let_go.rowcount < limit:
            await connection.execute(delete(row).where(row.scope == scope))
    return released


def _release(institution_id: str, spread_seconds: float, limit: int) -> Update:
    parked = (
        select(PlaidItem.id)
        .where(PlaidItem.institution_id == institution_id, PlaidItem.parked_at.is_not(None))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    soon = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, func.random() * spread_seconds)
    # Of needs_reauth and its like the time stays empty: they wait for somebody, not for the bank.
    at = case((PlaidItem.next_sync_at.is_(None), None), else_=func.least(PlaidItem.next_sync_at, soon))
    return update(PlaidItem).where(PlaidItem.id.in_(parked.scalar_subquery())).values(parked_at=None, next_sync_at=at)
