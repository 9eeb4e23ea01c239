"""`/docs`: the API's description as a page. No script and nothing from elsewhere: it is the description, laid out."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request, Response

router = APIRouter(include_in_schema=False)

Operation = dict[str, Any]
STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1, h2 { line-height: 1.2; }
section { border-top: 1px solid GrayText; margin-top: 1.5rem; }
h3 { font: 600 1rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
td, th { border-bottom: 1px solid GrayText; padding: 0.25rem 0.75rem 0.25rem 0; text-align: left; vertical-align: top; }
pre { background: color-mix(in srgb, CanvasText 8%, Canvas); overflow-x: auto; padding: 0.75rem; }
"""


@router.get("/docs")
async def page(request: Request) -> Response:
    """Show the description to people."""
    return Response("".join(_page(request.app.openapi())), media_type="text/html")


@router.get("/docs/style.css")
async def style() -> Response:
    """Give the page its looks."""
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


def _page(schema: dict[str, Any]) -> Iterator[str]:
    title, about = escape(schema["info"]["title"]), escape(schema["info"]["description"])
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f'<title>{title}: API</title><link rel="stylesheet" href="/docs/style.css"></head>'
    yield f'<body><main><h1>{title}</h1><p>{about}</p><p><a href="/openapi.json">The description for programs</a></p>'
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            yield from _operation(f"{method.upper()} {path}", operation, schema["components"]["schemas"])
    yield "</main></body></html>"


def _operation(name: str, operation: Operation, schemas: dict[str, Any]) -> Iterator[str]:
    yield f"<section><h3>{escape(name)}</h3><p>{escape(operation['description'])}</p>"
    if parameters := operation.get("parameters"):
        rows = [(one["name"], one["in"], one.get("description") or _kind(one["schema"])) for one in parameters]
        yield from _table(("parameter", "in", ""), rows)
    if body := operation.get("requestBody"):
        for example in _examples(body["content"]["application/json"]["schema"], schemas):
            yield f"<pre>{escape(json.dumps(example, indent=2))}</pre>"
    answers = [(status, "", answer["description"]) for status, answer in sorted(operation["responses"].items())]
    yield from _table(("answer", "", ""), answers)
    yield "</section>"


def _table(heads: tuple[str, ...], rows: list[tuple[str, str, str]]) -> Iterator[str]:
    yield "<table><tr>" + "".join(f'<th scope="col">{escape(head)}</th>' for head in heads) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _kind(schema: dict[str, Any]) -> str:
    choices = [schema, *schema.get("anyOf", ())]
    words = [one.get("format") or one.get("type") or one.get("$ref", "").rpartition("/")[2] for one in choices]
    return ", ".join(word for word in words if word and word != "null")


def _examples(schema: dict[str, Any], schemas: dict[str, Any]) -> list[Any]:
    for choice in (schema, *schema.get("anyOf", ())):
        named = schemas.get(choice.get("$ref", "").rpartition("/")[2], {})
        if "examples" in named:
            return list(named["examples"])
    return []
