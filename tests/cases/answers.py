"""Malformed answers of /transactions/sync from a seed, each with the well-formed rows that are in it."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.integration.plaid_script import transaction

Document = dict[str, Any]
# What no JSON writer would write; it takes the place of its name in quotes.
RAW = {
    "@huge": b"1e999999999",
    "@long": b"9" * 200_000,
    "@nan": b"NaN",
    "@infinity": b"Infinity",
    "@less": b"-Infinity",
    "@deep": b"[" * 700 + b"]" * 700,
    "@abyss": b"[" * 20_000 + b"]" * 20_000,
    "@bytes": b'"\xff\xfe"',
    "@half": b'"bad\xc3"',
    "@control": b'"a\x01b"',
}


@dataclass(frozen=True)
class Answer:
    """An answer, what is wrong with it, and the transactions in it with which nothing is wrong."""

    wrong: str
    body: bytes
    good: list[Document]

    @property
    def spoils_all(self) -> bool:
        """Whether nothing of it can be told from the rest."""
        return self.wrong in WHOLE

    @property
    def may_spoil_all(self) -> bool:
        """Whether the trouble may be too deep for a reader to find its end."""
        return self.spoils_all or self.wrong in {"deep", "abyss", "control character"}


def answers(seed: int, count: int) -> Iterator[Answer]:
    """Yield answers, every kind of trouble in turn."""
    chance = random.Random(seed)
    kinds = [*WHOLE, *PART]
    for number in range(count):
        wrong = kinds[number % len(kinds)]
        good = [_row(chance) for _ in range(chance.randint(1, 6))]
        spoil = WHOLE.get(wrong) or PART[wrong]
        yield Answer(wrong, spoil(chance, _document(good)), good)


def _row(chance: random.Random) -> Document:
    # Of a few ids, so that the same ones are told again and again.
    amount = chance.choice([0, -3, 12.34, 1e-9, 987654321.125])
    return transaction(f"t{chance.randint(1, 40)}", amount=amount, name=chance.choice(["CAFE", "Ünïcödé", "a\\b"]))


def _document(rows: list[Document]) -> Document:
    lists = {"added": rows, "modified": [], "removed": [], "accounts": []}
    return lists | {"next_cursor": "c1", "has_more": False, "request_id": "rQ1", "transactions_update_status": "X"}


def _write(told: Document) -> bytes:
    body = json.dumps(told).encode()
    for name, value in RAW.items():
        body = body.replace(f'"{name}"'.encode(), value)
    return body


Spoil = Callable[[random.Random, Document], bytes]


def _one_of(*bodies: bytes) -> Spoil:
    return lambda chance, _: chance.choice(bodies)


def _cut(chance: random.Random, told: Document) -> bytes:
    body = _write(told)
    return body[: chance.randint(0, len(body) - 1)]


def _without_a_list(chance: random.Random, told: Document) -> bytes:
    del told[chance.choice(["added", "modified", "removed", "has_more"])]
    return _write(told)


def _wrong_type(chance: random.Random, told: Document) -> bytes:
    name = chance.choice(["added", "modified", "removed", "has_more", "accounts", "next_cursor", "request_id"])
    return _write(told | {name: chance.choice([7, {"a": 1}, 1.5])})


def _set(**fields: list[Any]) -> Spoil:
    return lambda chance, told: _write(told | {name: chance.choice(values) for name, values in fields.items()})


def _beside(**fields: list[Any]) -> Spoil:
    """Put a malformed transaction somewhere among the good ones."""

    def spoil(chance: random.Random, told: Document) -> bytes:
        bad = transaction(f"bad{chance.randint(1, 5)}")
        bad |= {name: chance.choice(values) for name, values in fields.items()}
        return _put(chance, told, bad)

    return spoil


def _put(chance: random.Random, told: Document, bad: object) -> bytes:
    place = chance.randint(0, len(told["added"]))
    return _write(told | {"added": [*told["added"][:place], bad, *told["added"][place:]]})


def _less(name: str) -> Spoil:
    bad = {key: value for key, value in transaction("bad6").items() if key != name}
    return lambda chance, told: _put(chance, told, bad)


WHOLE: dict[str, Spoil] = {
    "cut": _cut,
    "noise": lambda chance, _: chance.randbytes(chance.randint(1, 300)),
    "empty": _one_of(b"", b" ", b"\0"),
    "HTML": _one_of(b"<html><body>Bad gateway</body></html>", b"<!doctype html>"),
    "another document": _one_of(b"[]", b"null", b"7", b'"x"', b"{}", b'{"error_code": "X"}', b'{"added": [] "x"}'),
    "two documents": lambda _, told: _write(told) * 2,
    "NaN at the root": _set(has_more=["@nan"]),
    "a missing list": _without_a_list,
    "a wrong type": _wrong_type,
    "only brackets": _one_of(b"[" * 10, b"[" * 200_000, b'{"added":' * 3000),
    "UTF-16": lambda _, told: _write(told).decode().encode("utf-16"),
    "more without a cursor": _set(has_more=[True], next_cursor=["", None]),
    "rows without a cursor": _set(next_cursor=["", None]),
}
PART: dict[str, Spoil] = {
    "amount": _beside(amount=["12.34", None, [1], True, {}, ""]),
    "huge amount": _beside(amount=["@huge", "@long"]),
    "NaN": _beside(amount=["@nan", "@infinity", "@less"]),
    "NaN beside": _beside(location=[{"lat": "@nan"}, {"lon": "@less"}], name=['a "NaN" b', "NaN", "-Infinity\\\\"]),
    "date": _beside(date=["2026-02-30", 20260502, None, "", "yesterday", "2026-05"]),
    "no date": _less("date"),
    "no account": _less("account_id"),
    "no id": _less("transaction_id"),
    "id": _beside(transaction_id=[None, "", 7, [], "ß" * 100_000, "@half"]),
    "pending": _beside(pending=["false", 0, None]),
    "entry": lambda chance, told: _put(chance, told, chance.choice([None, 7, "x", [], {}, [[]]])),
    "pending link": _beside(pending_transaction_id=[7, [], "".join(chr(0x4E00 + n) for n in range(4000))]),
    "balance": _beside(running_balance=["much", "@huge"]),
    "instant": _beside(authorized_datetime=["2026-05-02T25:61:00Z", {"a": 1}, 7, ""]),
    "huge number beside": _beside(location=[{"lat": "@huge"}]),
    "deep": _set(field_of_tomorrow=["@deep"]),
    "abyss": _beside(location=["@abyss"]),
    "bad UTF-8": _beside(name=["@bytes"], merchant_name=["@half"]),
    "control character": _beside(name=["@control"]),
    "huge number at the root": _set(field_of_tomorrow=["@huge"]),
    "bad UTF-8 at the root": _set(field_of_tomorrow=["@bytes"]),
    "NaN in what is no transaction": _set(accounts=[[{"x": "@nan"}]], removed=[[{"x": "@infinity"}]], beside=["@less"]),
    "account": _set(accounts=[["x"], [{"account_id": "a", "name": None, "type": "b"}], [{"a": "@huge"}]]),
    "account's balances": _set(
        accounts=[[{"account_id": "a", "name": "b", "type": "c", "balances": {"current": "x"}}]],
    ),
    "removal": _set(removed=[["x", {}], [{"transaction_id": None}], [{"transaction_id": "none", "x": "@huge"}]]),
    "a list told twice": lambda _, told: b'{"added": [{"transaction_id": "never"}], ' + _write(told)[1:],
}
