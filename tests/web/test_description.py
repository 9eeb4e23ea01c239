"""The API's description, and whether the API is as described: schemathesis asks what the description allows.

`SCHEMATHESIS_CASES=5000` asks that often; the suite by itself a few times for each route.
"""

import asyncio
import os

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import one_of
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from core.access.scopes import Scope
from core.items.registration import NewItem, register_items
from core.settings import load_settings
from tests.web.test_server import served
from web.app import make_app
from web.server import DeadlineProtocol

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "90"))
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance, status_code_conformance]


@pytest.fixture
def description(web_settings):
    return make_app(web_settings).openapi()


def test_every_operation_has_a_name_a_summary_and_its_problems(description):
    assert description["openapi"].startswith("3.1")
    operations = [one for path in description["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations)
    for path, methods in description["paths"].items():
        for operation in methods.values():
            assert operation["description"]
            if path.startswith("/api/"):
                assert operation["security"] == [{"bearer": []}]
                assert {"401", "403", "422", "429", "503"} <= set(operation["responses"])
    assert "HTTPValidationError" not in str(description)


def test_the_example_of_every_request_fits_its_own_description(description):
    import jsonschema_rs  # noqa: PLC0415 - comes with schemathesis

    schemas = description["components"]["schemas"]
    shown = {name: schema["examples"] for name, schema in schemas.items() if name.endswith("Request")}
    assert set(shown) == {"LinkTokenRequest", "LinkItemRequest", "SyncRequest", "ReplayRequest"}
    for name, examples in shown.items():
        whole = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        for example in examples:
            jsonschema_rs.validate(whole, example)


async def test_the_description_is_served_without_a_token(client):
    assert (await client.get("/openapi.json")).json()["info"]["title"] == "Manna Sync"


async def test_people_read_it_as_a_page_that_the_policy_allows(client):
    page = await client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "POST /api/v1/items/{item_id}/sync" in page.text
    assert "public-sandbox-5f0c" in page.text
    for forbidden in ("<script", "<style", " style=", "http://", "https://"):
        assert forbidden not in page.text
    assert "style-src 'self'" in page.headers["content-security-policy"]
    assert (await client.get("/docs/style.css")).headers["content-type"] == "text/css; charset=utf-8"


@pytest.fixture
async def address(web_settings, monkeypatch, simulator):
    """The application on a socket, without limits to be met, with an Item to be found, and the simulator as Plaid."""
    monkeypatch.setenv("API_RATE_PER_MINUTE", "1000000")
    monkeypatch.setenv("PLAID_BASE_URL", simulator.url)
    app = make_app(load_settings())
    async with app.router.lifespan_context(app), served(DeadlineProtocol, app) as (host, port):
        token = simulator.link(transactions=3)["access_token"]
        new = [NewItem("u1", "itm1", token)]
        await register_items(app.state.services.resources.database, new, "operator:test")
        yield f"http://{host}:{port}"


def cases_of(operation, number):
    """Return cases, half of them such that break the description; collected here and sent from the test's loop."""
    made = []
    strategies = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(one_of(*strategies))
    def collect(case):
        made.append(case)

    collect()
    return made


async def test_the_api_answers_as_described_whatever_it_is_asked(address, description, bearer):
    headers = bearer(*Scope)
    schema = schemathesis.openapi.from_dict(description)
    operations = [found.ok() for found in schema.get_all_operations()]
    statuses = set()
    with requests.Session() as session:
        for operation in operations:
            for case in cases_of(operation, max(1, CASES // len(operations))):
                answer = await asyncio.to_thread(case.call, base_url=address, session=session, headers=headers)
                case.validate_response(answer, checks=CHECKS)
                statuses.add(answer.status_code)
    assert {200, 422} <= statuses
