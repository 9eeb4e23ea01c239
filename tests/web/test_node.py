"""What other people's programs say of the front door: plaid-node, a generated client, Mozilla's HTTP Observatory."""

import asyncio
import json
import os
import ssl
from pathlib import Path
from shutil import copy
from uuid import UUID

import pytest
import trustme

from core.models import RunStatus, SyncTrigger
from core.settings import load_settings
from core.sync.sync_item import sync_item
from devstack.places import free_port
from tests.web.conftest import opened
from tests.web.test_server import served
from web.server import DeadlineProtocol

PROGRAMS = Path(__file__).parent.parent / "node"
INSTALLED = PROGRAMS / "node_modules"
BANK = "ins_109508"

pytestmark = pytest.mark.extras("tests/node/node_modules")


async def node(program, *arguments, **environment):
    """Run a program of node's and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        "node", program, *arguments, stdout=asyncio.subprocess.PIPE, env=dict(os.environ) | environment
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.fixture
async def linking(web_settings, monkeypatch, simulator):
    """The application on a socket, with the simulator as Plaid."""
    monkeypatch.setenv("PLAID_BASE_URL", simulator.url)
    async with opened(load_settings()) as client, served(DeadlineProtocol, client.app) as (host, port):
        client.address = f"http://{host}:{port}"
        yield client


async def test_what_plaid_node_has_linked_is_taken_over(linking, simulator, bearer):
    given = {"plaid": simulator.url, "bank": BANK}
    seen = json.loads(await node(PROGRAMS / "plaid_flow.mjs", json.dumps(given)))
    assert (seen["item_id"], seen["second_exchange"]) == (seen["linked"], "INVALID_PUBLIC_TOKEN")
    assert seen["status"] in {"NOT_READY", "INITIAL_UPDATE_COMPLETE", "HISTORICAL_UPDATE_COMPLETE"}
    told = {"user_id": "u1", "public_token": seen["for_our_api"]["public_token"]}
    created = await linking.post("/api/v1/items", json=told, headers=bearer("items:write"))
    assert (created.status_code, created.json()["plaid_item_id"]) == (201, seen["for_our_api"]["item_id"])
    outcome = await sync_item(linking.app.state.services.resources, UUID(created.json()["id"]), SyncTrigger.MANUAL)
    assert outcome.status is RunStatus.SUCCEEDED


async def test_a_client_made_from_the_description_compiles_strictly_and_works(linking, simulator, bearer, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "openapi.json").write_text(json.dumps(linking.app.openapi()))
    copy(PROGRAMS / "api_flow.ts", source)
    made = ["--input", tmp_path / "openapi.json", "--output", source / "client", "--client", "@hey-api/client-fetch"]
    await node(INSTALLED / "@hey-api/openapi-ts/bin/run.js", *made)
    strict = ["--strict", "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "--module", "commonjs"]
    compiled = [source / "api_flow.ts", *strict, "--outDir", tmp_path / "compiled"]
    await node(INSTALLED / "typescript/bin/tsc", *compiled)
    token = bearer("items:read", "items:write")["Authorization"].removeprefix("Bearer ")
    given = {"api": linking.address, "plaid": simulator.url, "token": token, "bank": BANK}
    seen = json.loads(await node(tmp_path / "compiled/api_flow.js", json.dumps(given)))
    assert seen["listed"] == [seen["item_id"]]
    assert seen["accounts"] >= 1
    assert (seen["asked"], seen["transactions"], seen["missing"]) == (
        "queued",
        0,
        "urn:manna-sync:problem:not-found",
    )


@pytest.fixture
async def secured(web_settings, monkeypatch, tmp_path):
    """The application as production has it, over TLS with a certificate that verifies; its port and authority."""
    monkeypatch.setenv("REQUIRE_HTTPS", "true")
    monkeypatch.setenv("SECURE_COOKIES", "true")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    async with opened(load_settings()) as client, served(DeadlineProtocol, client.app, tls=context) as (_, port):
        yield port, str(tmp_path / "authority.pem")


@pytest.mark.parametrize("path", ["/console/login", "/api/v1/items", "/docs", "/health"])
async def test_mozillas_observatory_gives_the_best_mark(secured, path):
    port, authority = secured
    given = json.dumps({"port": port, "closed": free_port(), "path": path})
    seen = json.loads(await node(PROGRAMS / "observatory.mjs", given, NODE_EXTRA_CA_CERTS=authority))
    assert (seen["grade"], seen["failed"], seen["verified"]) == ("A+", [], True), seen
