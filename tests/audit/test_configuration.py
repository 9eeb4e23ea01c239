"""A process that starts with other settings than the one before it is on record, setting by setting."""

import asyncio

from core.audit.configuration import ADDRESSES, WATCHED, record_settings
from core.audit.consumer import consume
from tests.audit.chain import ask

RECORDED = """
SELECT context ->> 'setting' FROM (SELECT occurred_at, event_type, context FROM audit_outbox
UNION ALL SELECT occurred_at, event_type, context FROM audit_events) AS event
WHERE event_type = 'config:settings:changed' ORDER BY occurred_at
"""


async def start(resources, **changes):
    await record_settings(resources.settings.model_copy(update=changes), resources.database)


async def test_the_first_start_records_all_and_the_next_nothing(resources):
    await asyncio.gather(*(start(resources) for _ in range(4)))
    assert await ask(resources, RECORDED) == [(",".join([*WATCHED, *ADDRESSES]),)]
    await consume(resources.settings, resources.database)
    await start(resources)
    assert len(await ask(resources, RECORDED)) == 1


async def test_what_changed_is_named_and_so_is_its_way_back(resources):
    await start(resources)
    await start(resources, rate_limiting_enabled=False, accept_risk=("RATE_LIMITING_ENABLED",))
    await consume(resources.settings, resources.database)
    await start(resources)
    changed = [row[0] for row in await ask(resources, RECORDED)][1:]
    assert changed == ["rate_limiting_enabled,accept_risk"] * 2


async def test_neither_a_password_nor_a_workers_own_size_is_news(resources):
    await start(resources)
    other = resources.settings.database_url.replace("://manna:", "://manna:x")
    await start(resources, database_url=other, database_pool_size=77)
    assert len(await ask(resources, RECORDED)) == 1


async def test_it_raises_the_alert_that_the_guide_asks_for(resources):
    await start(resources)
    await consume(resources.settings, resources.database)
    await consume(resources.settings, resources.database)
    alerts = "SELECT context ->> 'rule' FROM audit_events WHERE event_type = 'audit:alert:raised'"
    assert await ask(resources, alerts) == [("configuration-changed",)]


async def test_several_sentinels_are_an_address_and_their_password_is_no_news(resources):
    sentinels = "sentinel://:{}@host1:26379,host2:26379/0?master=manna&sentinel_password={}"
    await start(resources, redis_url=sentinels.format("a", "b"))
    await start(resources, redis_url=sentinels.format("c", "d"))
    await start(resources, redis_url=sentinels.replace("host2", "host3").format("c", "d"))
    assert [row[0] for row in await ask(resources, RECORDED)][1:] == ["redis_url"]


async def test_another_broker_is_news_and_its_password_is_none(resources):
    await start(resources)
    for address in ("amqps://manna:a@rabbit/manna", "amqps://manna:b@rabbit/manna"):
        await start(resources, broker_url=address)
    assert [row[0] for row in await ask(resources, RECORDED)][1:] == ["broker_url"]
