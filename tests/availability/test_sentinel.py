"""Redis' master dies in the middle of a round: the sentinels promote the replica, and everybody goes on with that."""

import signal

from tests.availability.sentinels import Sentinels


async def test_the_master_dies_and_leases_budget_and_broker_go_on_with_the_replica(house, monkeypatch):
    sentinels = Sentinels(house.supervisor, house.logs / "sentinels")
    sentinels.directory.mkdir()
    # Its own master would go by the same name as the house's.
    house.valkey.stop()
    sentinels.start()
    monkeypatch.setenv("REDIS_URL", sentinels.url)
    house.start_worker("one")
    house.start_worker("two")
    house.start_beat("beat")
    house.start_beat("other")
    await house.link()

    async def the_master_dies(house):
        house.supervisor.stop("valkey", signal.SIGKILL)
        house.supervisor.wait_ready("replica", sentinels.promoted)

    await house.disturbed(the_master_dies)
    for name in ("one", "two", "beat", "other"):
        assert house.supervisor.exited(name) is None
