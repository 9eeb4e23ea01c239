"""The API's description (OpenAPI 3.1): what FastAPI makes of the routes, with our problem documents in it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from web.schemas.listing import PROBLEM
from web.schemas.words import Problem

ABOUT = (
    "Keeps users' bank transactions in step with Plaid. Every listing is newest first and paged by `cursor`; errors"
    " are problem documents (RFC 9457); every POST but that of link tokens takes an `Idempotency-Key`."
)
# FastAPI's own shape of a 422, which is not what is answered.
NOT_OURS = ("HTTPValidationError", "ValidationError")
BODY_PROBLEMS = {
    "400": "The body or the Idempotency-Key cannot be read.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
}
IDEMPOTENCY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Any word of yours: the same key and request again is answered as the first time, for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
}


def install(app: FastAPI) -> None:
    """Have the application describe itself so."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _describe(app)
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's documented way


def _describe(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
    for name in NOT_OURS:
        schema["components"]["schemas"].pop(name, None)
    schema["components"]["schemas"][Problem.__name__] = Problem.model_json_schema()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    return schema


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    if method != "post":
        return
    answers = operation["responses"]
    for status, meaning in BODY_PROBLEMS.items():
        answers[status] = {"description": meaning, "content": PROBLEM}
    if path.startswith("/api/") and not path.endswith("/link-token"):
        operation.setdefault("parameters", []).append(IDEMPOTENCY)
        answers["409"] = {"description": "It does not go with the present state.", "content": PROBLEM}
