import re
import sys

import httpx
import plaid
import pytest
from plaid.api.plaid_api import PlaidApi

from devstack.processes import open_supervisor

KEYS = {"PLAID-CLIENT-ID": "sandbox-client", "PLAID-SECRET": "sandbox-secret"}


class Plaid:
    """The simulator as a client and as its test see it."""

    def __init__(self, url):
        self.url = url
        self.http = httpx.Client(base_url=url, headers=KEYS, timeout=20)

    def control(self, call, **fields):
        answer = self.http.post(f"/control/{call}", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def link(self, **fields):
        return self.control("items", **fields)["items"][0]

    def sync(self, item, cursor="", **fields):
        asked = {"access_token": item["access_token"], "cursor": cursor, **fields}
        return self.http.post("/transactions/sync", json=asked)

    def code(self, item, cursor="", **fields):
        return self.sync(item, cursor, **fields).json().get("error_code")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One simulator a test process: tests share it and nothing in it, since each links its own Items."""
    log = tmp_path_factory.mktemp("simulator") / "log"
    with open_supervisor() as supervisor:
        supervisor.start("simulator", [sys.executable, "-m", "simulator", "--seed", "3"], log=log)
        supervisor.wait_ready("simulator", lambda: "listening" in log.read_text())
        yield re.search(r"http://\S+", log.read_text())[0]
        assert "Traceback" not in log.read_text()


@pytest.fixture
def simulator(server):
    found = Plaid(server)
    with found.http:
        yield found


@pytest.fixture
def api(simulator):
    keys = {"clientId": "sandbox-client", "secret": "sandbox-secret", "plaidVersion": "2020-09-14"}
    with plaid.ApiClient(plaid.Configuration(host=simulator.url, api_key=keys)) as client:
        yield PlaidApi(client)


@pytest.fixture
def item(simulator):
    return simulator.link(transactions=25)
