"""What a guard refuses before any page is reached: a page for a person, a problem document for a program."""

from core.settings import load_settings
from tests.console.conftest import text_of
from tests.web.conftest import opened


def is_page(answer):
    return answer.headers["content-type"] == "text/html; charset=utf-8" and "<h1>" in answer.text


async def test_too_many_requests_say_how_long_to_wait(web_settings, monkeypatch, bearer):
    monkeypatch.setenv("API_RATE_PER_MINUTE", "1")
    async with opened(load_settings()) as client:
        answers = [await client.get("/console/login") for _ in range(3)]
        answer = answers[-1]
        assert (answer.status_code, is_page(answer)) == (429, True)
        assert f"Wait {answer.headers['retry-after']} seconds, then load the page again." in text_of(answer)
        assert answer.headers["ratelimit"].startswith('"any";r=0')
        assert "style-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-request-id"] in answer.text
        program = [await client.get("/api/v1/items", headers=bearer()) for _ in range(2)][-1]
        assert (program.status_code, program.headers["content-type"]) == (429, "application/problem+json")


async def test_a_form_that_is_too_large_is_refused_on_a_page(client):
    answer = await client.post("/console/login", content=b"a" * 70_000)
    assert (answer.status_code, is_page(answer)) == (413, True)
    assert "Go back and send less at once." in text_of(answer)
    assert answer.headers["connection"] == "close"


async def test_plain_http_is_told_to_come_by_https(web_settings, monkeypatch):
    monkeypatch.setenv("REQUIRE_HTTPS", "true")
    async with opened(load_settings()) as client:
        answer = await client.get("/console")
        assert (answer.status_code, is_page(answer)) == (403, True)
        assert "Open the console by an address that begins with https://." in text_of(answer)


async def test_a_crash_is_a_page_that_names_the_request(client, monkeypatch):
    async def crash(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("web.console.routes.login.session_of", crash)
    answer = await client.get("/console/login", headers={"X-Request-ID": "abc-1"})
    assert (answer.status_code, is_page(answer)) == (500, True)
    assert "Request abc-1" in text_of(answer)
    assert "ZeroDivision" not in answer.text
    elsewhere = await client.get("/consolefoo")
    assert elsewhere.headers["content-type"] == "application/problem+json"


async def test_a_crash_is_a_problem_document_for_a_program(client, bearer, monkeypatch):
    async def crash(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("web.routes.items.find_items", crash)
    answer = await client.get("/api/v1/items", headers=bearer())
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:manna-sync:problem:internal")
