"""Which Items a replay takes: those that are still failing, by what they failed with, where, and since when."""

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, Uuid, and_, cast, exists, func, null, or_, select

from core.database import Database
from core.models import ItemStatus, JournalPage, PlaidItem, ReplayItem, ReplayState, RunStatus, SyncRun
from core.models.journal_page import HEAD

GONE = (ItemStatus.REVOKED, ItemStatus.REMOVED)
OPEN = (ReplayState.WAITING, ReplayState.SENT)
# A run's day in UTC: where its recorded pages stand.
DAY = func.date(func.timezone("UTC", SyncRun.started_at))


@dataclass(frozen=True, slots=True)
class Selection:
    """What an Item must fit to be replayed; a field left out fits all.

    Attributes:
        ids: of failed runs or of Items, mixed as they come.
        error_code: what a run failed with, or what the Item fails with now.
        institution_id: Plaid's id of the bank.
        since: only failures from then on.
        item_status: `error` are the Items that were set aside after too many failures.
        error_type: the class of the failure, in Plaid's words such as `ITEM_ERROR`; `MANNA` for ours.
        until: only failures before then.
        from_journal: only Items whose newest such run left pages that may be applied, and apply those.
    """

    ids: tuple[UUID, ...] = ()
    error_code: str | None = None
    institution_id: str | None = None
    since: datetime | None = None
    item_status: ItemStatus | None = None
    error_type: str | None = None
    until: datetime | None = None
    from_journal: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the fields that were given."""
        given = {**asdict(self), "ids": sorted(set(self.ids))}
        fields: dict[str, Any] = msgspec.to_builtins({name: value for name, value in given.items() if value})
        return fields

    @property
    def fingerprint(self) -> str:
        """The same for selections that ask for the same."""
        return hashlib.sha256(msgspec.json.encode(self.as_json(), order="sorted")).hexdigest()

    def __str__(self) -> str:
        fields = self.as_json()
        if ids := fields.pop("ids", None):
            fields["ids"] = len(ids)
        return " ".join(f"{name}={value}" for name, value in fields.items()) or "everything that fails"


def chosen(selection: Selection) -> Select[UUID, UUID | None]:
    """Return the query for the Items of a replay, each with the run whose recorded pages are applied, if they are."""
    if selection.from_journal:
        return _with_pages(selection)
    return failing(selection).add_columns(cast(null(), Uuid).label("run_id"))


def _with_pages(selection: Selection) -> Select[UUID, UUID | None]:
    """Each Item that fits with its newest failed run of which pages are kept, if they follow the Item as it is now."""
    page = JournalPage
    head = (page.item_id == SyncRun.item_id, page.run_id == SyncRun.id, page.page == HEAD, page.recorded_on == DAY)
    newest = func.row_number().over(partition_by=PlaidItem.id, order_by=SyncRun.started_at.desc())
    query = select(PlaidItem.id, SyncRun.id.label("run_id"), newest.label("place"))
    query = query.join(SyncRun, SyncRun.item_id == PlaidItem.id)
    query = query.join(page, and_(*head, page.version == PlaidItem.version))
    runs = query.where(*failed_runs(selection), *_of_item(selection)).subquery()
    return select(runs.c.id, runs.c.run_id).where(runs.c.place == 1)


def failing(selection: Selection) -> Select[UUID]:
    """Return the query for the Items that fit, still fail, and are in no open replay.

    An Item fails while nothing was committed for it since a failed run began, or while its own health says so: that
    outlives the run history's retention.
    """
    return select(PlaidItem.id).where(*_of_item(selection), or_(*_reasons(selection)))


def _of_item(selection: Selection) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [PlaidItem.status.not_in(GONE), ~_is_in_open_replay()]
    if selection.institution_id is not None:
        conditions.append(PlaidItem.institution_id == selection.institution_id)
    if selection.item_status is not None:
        conditions.append(PlaidItem.status == selection.item_status)
    return conditions


def _reasons(selection: Selection) -> list[ColumnElement[bool]]:
    is_behind = or_(PlaidItem.last_synced_at.is_(None), PlaidItem.last_synced_at < SyncRun.started_at)
    # Not correlated: the outer query's Item is another row.
    runs = select(SyncRun.item_id).join(PlaidItem, PlaidItem.id == SyncRun.item_id)
    reasons: list[ColumnElement[bool]] = [
        PlaidItem.id.in_(runs.where(*failed_runs(selection), is_behind).correlate(None))
    ]
    # An Item's health has no moment: where one is asked for, the run history alone can tell.
    if selection.since is None and selection.until is None:
        reasons.append(_by_health(selection))
    return reasons


def failed_runs(selection: Selection) -> list[ColumnElement[bool]]:
    """Return what a failed run must fit."""
    failed = [SyncRun.status == RunStatus.FAILED]
    if selection.error_code is not None:
        failed.append(SyncRun.error_code == selection.error_code)
    if selection.error_type is not None:
        failed.append(SyncRun.error_type == selection.error_type)
    if selection.since is not None:
        failed.append(SyncRun.started_at >= selection.since)
    if selection.until is not None:
        failed.append(SyncRun.started_at < selection.until)
    if selection.ids:
        failed.append(or_(SyncRun.id.in_(selection.ids), SyncRun.item_id.in_(selection.ids)))
    return failed


def _by_health(selection: Selection) -> ColumnElement[bool]:
    health: list[ColumnElement[bool]] = [PlaidItem.error_code.is_not(None)]
    if selection.error_code is not None:
        health.append(PlaidItem.error_code == selection.error_code)
    if selection.error_type is not None:
        health.append(PlaidItem.error_type == selection.error_type)
    if selection.ids:
        health.append(PlaidItem.id.in_(selection.ids))
    return and_(*health)


def _is_in_open_replay() -> ColumnElement[bool]:
    return exists().where(ReplayItem.item_id == PlaidItem.id, ReplayItem.state.in_(OPEN))


async def preview(database: Database, selection: Selection) -> list[dict[str, Any]]:
    """Return how many Items a replay would take, by their status and error code, most first; changes nothing."""
    taken = chosen(selection).subquery()
    items = func.count().label("items")
    query = (
        select(PlaidItem.status, PlaidItem.error_code, items)
        .join(taken, taken.c.id == PlaidItem.id)
        .group_by(PlaidItem.status, PlaidItem.error_code)
        .order_by(items.desc())
    )
    async with database.connection() as connection:
        return [dict(row._mapping) for row in await connection.execute(query)]
