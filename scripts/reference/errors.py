"""The page of errors: which of Plaid's leads to which verdict, and what a verdict means."""

from collections.abc import Iterator

from core.errors import SyncError, Verdict
from core.plaid.errors import BY_CODE, BY_TYPE
from core.sync.explanation_texts import BY_CODE as ADVICE

NAME = "errors.md"
HEAD = """# Errors of a sync

Written from the code by `python -m scripts.reference`; a test holds it to the code.

A failed run keeps Plaid's `error_type` and `error_code`. What follows is decided by the verdict alone, and the verdict
belongs to the class of the error: code first, then type, never the message.

| verdict | what follows |
|---|---|"""
MEANINGS = {
    Verdict.RETRY_LATER: "Tried again by itself: after 30 s, doubling up to 4 h, or when Plaid said so.",
    Verdict.RESTART_PAGINATION: "The pages are thrown away; the loop begins again at the cursor it began with.",
    Verdict.RESTART_FROM_EMPTY_CURSOR: "One full pull; what Plaid does not name again is marked removed.",
    Verdict.USER_MUST_ACT: "The Item is `needs_reauth`, off the schedule until its user was in update mode.",
    Verdict.ITEM_IS_GONE: "The Item is `revoked`: no sync will ever work again. Its rows stay.",
    Verdict.OPERATOR_MUST_ACT: "Keys, rights or a bug: tried again after 15 minutes at least, until it is mended.",
    Verdict.INSTITUTION_IS_DOWN: "The bank's breaker counts it; once open, its Items wait and one of them probes.",
}
TAIL = """
An HTTP status of 500 and more, or 429, without a known body is `retry_later`; any other is `operator_must_act`.
Twenty failures in a row that are the Item's own set it aside as `error` until a webhook or a person brings it back.

A run that is skipped with `LOCK_NOT_FREE` left its Item to the worker that is syncing it; with `HELD_BACK`, to an open
breaker; `VERSION_CONFLICT` means that another run committed first. Nothing is lost by any of them.

## What a person can do

As `manna syncs show` tells it, by code:

| `error_code` | what happened | what to do |
|---|---|---|"""


def page() -> str:
    """Return the page's text."""
    verdicts = [f"| `{verdict.value}` | {MEANINGS[verdict]} |" for verdict in Verdict]
    return "\n".join(
        [
            HEAD,
            *verdicts,
            "",
            *_table("error_code", BY_CODE),
            *_table("error_type", BY_TYPE),
            TAIL.strip(),
            *_advice(),
            "",
        ]
    )


def _advice() -> Iterator[str]:
    for code, (happened, advice) in sorted(ADVICE.items()):
        yield f"| `{code}` | {happened} | {advice} |"


def _table(name: str, known: dict[str, type[SyncError]]) -> Iterator[str]:
    yield f"| Plaid's `{name}` | verdict |\n|---|---|"
    for word, kind in sorted(known.items(), key=lambda pair: (pair[1].verdict.value, pair[0])):
        yield f"| `{word}` | `{kind.verdict.value}` |"
    yield ""
