"""What the dedicated consumer does at each wake-up: seal, sign, export, watch. Nothing after sealing can stop it."""

import asyncpg
import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.audit.alerts.delivery import deliver
from core.audit.alerts.rules import load_rules
from core.audit.alerts.watch import watch
from core.audit.checkpoints import EVENTS_A_CHECKPOINT, export_checkpoints, sign_checkpoints
from core.audit.signing import load_signing_key
from core.audit.sink import BATCH, seal_batch
from core.database import Database
from core.errors import ConfigurationError
from core.settings import Settings

BATCHES_A_STRETCH = EVENTS_A_CHECKPOINT // BATCH
# A run ends well within a task's time limit; what is left is another wake-up's.
STRETCHES_A_RUN = 20

# Reading and sealing go to asyncpg directly, whose errors SQLAlchemy then does not wrap.
DATABASE_ERRORS = (SQLAlchemyError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)

log = structlog.get_logger()


async def consume(settings: Settings, database: Database) -> bool:
    """Seal what the outbox holds, sign and watch it, and tell whether something is left for another run."""
    total = 0
    is_more = True
    for _ in range(STRETCHES_A_RUN):
        sealed, is_more = await _seal_stretch(database)
        total += sealed
        await _sign(settings, database)
        is_alerted = await _watch(settings, database)
        # An alert is on record too, and shall not wait for the next wake-up to be sealed.
        if not (is_more or is_alerted):
            break
    if total:
        log.info("audit_sealed", events=total)
    return is_more


async def _seal_stretch(database: Database) -> tuple[int, bool]:
    """Seal up to as many events as a checkpoint covers; tell how many that were, and whether there may be more."""
    total = 0
    for _ in range(BATCHES_A_STRETCH):
        sealed = await seal_batch(database)
        total += sealed
        if sealed < BATCH:
            return total, False
    return total, True


async def _sign(settings: Settings, database: Database) -> None:
    try:
        await sign_checkpoints(database, load_signing_key(settings))
        if settings.audit_export_directory is not None:
            await export_checkpoints(database, settings.audit_export_directory)
    except ConfigurationError as error:
        log.warning("audit_not_signed", reason=str(error))
    except DATABASE_ERRORS as error:
        log.warning("audit_not_signed", reason=type(error).__name__)


async def _watch(settings: Settings, database: Database) -> bool:
    """Tell the outside about what was sealed, and tell whether there was an alert."""
    try:
        alerts = await watch(database, load_rules(settings.audit_alert_rules))
        await deliver(settings, alerts)
    except ConfigurationError as error:
        log.warning("audit_not_watched", reason=str(error))
    except DATABASE_ERRORS as error:
        log.warning("audit_not_watched", reason=type(error).__name__)
    else:
        return bool(alerts)
    return False
