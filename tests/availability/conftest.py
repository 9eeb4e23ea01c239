"""The stages: the fault tests', and a whole house whose servers may be restarted."""

from functools import partial

import pytest

from core.encryption import EncryptionKeyProvider
from devstack.places import make_directory
from devstack.processes import open_supervisor
from devstack.valkey import Valkey
from tests.availability.house import House
from tests.database.conftest import authority, stranger
from tests.faults.conftest import stage

__all__ = ["authority", "stage", "stranger"]


@pytest.fixture
def make_redis():
    """What the house's Redis is made with."""
    return partial(Valkey, durable=True)


@pytest.fixture
async def house(monkeypatch, make_redis):
    given = {
        "MANNA_ENVIRONMENT": "test",
        "MANNA_ENCRYPTION_KEY": EncryptionKeyProvider.generate_key(),
        "PLAID_CLIENT_ID": "sandbox-client",
        "PLAID_SECRET": "sandbox-secret",
        "DATABASE_POOL_SIZE": "5",
        "CONNECT_TIMEOUT_SECONDS": "5",
        "PLAID_RATE_PER_ITEM_PER_MINUTE": "1000000",
        "PLAID_RATE_PER_CLIENT_PER_MINUTE": "1000000",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with open_supervisor() as supervisor:
        directory = make_directory()
        supervisor.own(directory)
        house = House(supervisor, directory, make_redis(supervisor, directory))
        await house.open(monkeypatch.setenv)
        yield house
        await house.connection.close()
