"""Looks at what was sealed since the last look, exactly once, and records the alerts before it delivers them."""

import msgspec
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit.alerts.evaluation import Alert, Window, Windows, evaluate
from core.audit.alerts.rules import Rule
from core.audit.context import AuditContext
from core.audit.events import AuditEventType
from core.audit.outbox import log_audit_event
from core.audit.reading import read_range
from core.database import Database
from core.models import AuditAlertState, AuditChain

LOOK = 10_000


async def watch(database: Database, rules: tuple[Rule, ...]) -> list[Alert]:
    """Return the alerts of everything sealed since the last look, each already recorded as an audit event.

    Place, counts and alerts are one transaction: a consumer that dies looks again at the same events, and no event
    is counted twice. Where another consumer looks already, nothing is left to do.
    """
    alerts: list[Alert] = []
    while True:
        async with database.transaction() as session:
            seen, found = await _look(session, rules)
        alerts += found
        if seen < LOOK:
            return alerts


async def _look(session: AsyncSession, rules: tuple[Rule, ...]) -> tuple[int, list[Alert]]:
    locked = select(AuditAlertState.seq, AuditAlertState.windows).with_for_update(skip_locked=True)
    state = (await session.execute(locked)).first()
    head = (await session.execute(select(AuditChain.seq))).scalar_one()
    if state is None or head == state.seq:
        return 0, []
    upto = min(state.seq + LOOK, head)
    known = {rule.name for rule in rules}
    kept = {name: windows for name, windows in state.windows.items() if name in known}
    windows = msgspec.convert(kept, dict[str, dict[str, Window]], strict=False)
    alerts = evaluate(rules, windows, await read_range(await session.connection(), state.seq, upto))
    await session.execute(update(AuditAlertState).values(seq=upto, windows=_as_json(windows)))
    for alert in alerts:
        await _record(session, alert)
    return upto - state.seq, alerts


def _as_json(windows: Windows) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(windows, str_keys=True)
    return plain


async def _record(session: AsyncSession, alert: Alert) -> None:
    context = AuditContext(
        rule=alert.rule,
        severity=alert.severity.value,
        subject=alert.key,
        count=alert.count,
        window_seconds=alert.window_seconds,
        last_seq=alert.last_seq,
    )
    await log_audit_event(AuditEventType.ALERT_RAISED, "An alert rule was met", session=session, context=context)
