"""`manna tokens`: tokens for the API."""

import asyncio
import re
import sys
from typing import Annotated

import typer

from cli.output import print_json
from cli.session import operator, run
from core.access.scopes import Scope
from core.access.signing_keys import load_signing_keys
from core.access.tokens import MAX_TTL_SECONDS, Principal, issue_token
from core.audit import AuditContext, AuditEventType, log_audit_event
from core.errors import ConfigurationError
from core.resources import Resources

app = typer.Typer(no_args_is_help=True, help="Tokens for the API.")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@app.callback()
def group() -> None:
    """Hold the commands below one name."""


def seconds_of(text: str) -> int:
    """Return the seconds of a duration: 30m, 8h, 7d."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < seconds <= MAX_TTL_SECONDS:
        raise typer.BadParameter("is no duration; accepted are 30m, 8h, 7d, at most 90d")
    return seconds


@app.command("issue")
def issue(
    subject: Annotated[str, typer.Option(help="Who it is for; the audit log names it so.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may do; give several.")],
    ttl: Annotated[str, typer.Option(help="How long it lives: 30m, 8h, 7d.")] = "8h",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a token for the API. Example: manna tokens issue --subject ops --scope items:read --ttl 8h."""
    seconds = seconds_of(ttl)
    if not subject.strip():
        raise typer.BadParameter("the subject is empty", param_hint="--subject")
    token, principal = run(lambda resources: _issue(resources, subject.strip(), scope, seconds))
    if as_json:
        print_json({"token": token, "token_id": principal.token_id, "expires_at": principal.expires_at})
        return
    typer.echo(token)
    sys.stderr.write(f"for {principal.subject}, until {principal.expires_at:%Y-%m-%d %H:%M} UTC\n")


async def _issue(resources: Resources, subject: str, scopes: list[Scope], seconds: int) -> tuple[str, Principal]:
    keys = await asyncio.to_thread(load_signing_keys)
    if keys is None:
        raise ConfigurationError("JWT_SIGNING_KEY is not set")
    token, principal = issue_token(keys, subject, scopes, seconds)
    await log_audit_event(
        AuditEventType.API_TOKEN_ISSUED,
        "A token for the API was issued",
        database=resources.database,
        context=AuditContext(
            subject=subject,
            scope=" ".join(sorted(scopes)),
            token_id=principal.token_id,
            expires_at=principal.expires_at.isoformat(),
            key_id=keys.primary.kid,
        ),
        actor=operator(),
    )
    return token, principal
