import re
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread

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
        self.http = httpx.Client(base_url=url, headers=KEYS, timeout=120)

    def control(self, call, **fields):
        answer = self.http.post(f"/control/{call}", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def link(self, **fields):
        return self.control("items", **fields)["items"][0]

    def evolve(self, item, **fields):
        return self.control("evolve", item_ids=[item["item_id"]], **fields)

    def truth(self, item):
        return {one["transaction_id"]: one for one in self.control("ledger", item_id=item["item_id"])["transactions"]}

    def fault(self, item, kind, **fields):
        return self.control("faults", kind=kind, item_id=item["item_id"], **fields)["fault_id"]

    def ask(self, path, item, **fields):
        return self.http.post(path, json={"access_token": item["access_token"], **fields})

    def sync(self, item, cursor="", **fields):
        return self.ask("/transactions/sync", item, cursor=cursor, **fields)

    def code(self, item, cursor="", **fields):
        return self.sync(item, cursor, **fields).json().get("error_code")

    def loop(self, item, cursor="", **fields):
        """Return the pages from a cursor to the last one."""
        pages = [self.sync(item, cursor, **fields).json()]
        while pages[-1]["has_more"]:
            pages.append(self.sync(item, pages[-1]["next_cursor"], **fields).json())
        return pages


@contextmanager
def running(log):
    with open_supervisor() as supervisor:
        supervisor.start("simulator", [sys.executable, "-m", "simulator", "--seed", "3"], log=log)
        supervisor.wait_ready("simulator", lambda: "listening" in log.read_text())
        yield re.search(r"http://\S+", log.read_text())[0]
        assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One simulator a test process: tests share it and nothing in it, since each links its own Items."""
    with running(tmp_path_factory.mktemp("simulator") / "log") as url:
        yield url


@pytest.fixture
def simulator(server):
    found = Plaid(server)
    with found.http:
        yield found


@pytest.fixture
def own_simulator(tmp_path):
    """A simulator of the test's own, for what concerns all Items."""
    with running(tmp_path / "log") as url:
        found = Plaid(url)
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


class Receiver:
    """A web server that keeps the webhooks it is sent, and answers with the statuses it was given, then with 200."""

    def __init__(self, url):
        self.url = url
        self.came = Queue()
        self.statuses = []

    def next(self):
        return self.came.get(timeout=120)


@pytest.fixture
def receiver():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.came.put((self.headers.get("Plaid-Verification"), body))
            self.send_response(found.statuses.pop(0) if found.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_port}/hook")
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield found
        server.shutdown()
        thread.join()
