"""Singer: a tap that speaks the protocol straight from decoded pages, into `target-postgres` of MeltanoLabs.

The tap is leaner than one built on a development kit, which favours the peer. A removed transaction is a
record with `_sdc_deleted_at`, which is how a target without table versions is told.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchmarks.peers.plaid_http import fetch, serve_rounds

ITEMS = int(os.environ["BENCH_ITEMS"])
STREAM = "transactions"
TEXT = {"type": ["string", "null"]}
OBJECT: dict[str, Any] = {"type": ["object", "null"]}
ARRAY: dict[str, Any] = {"type": ["array", "null"]}
NAMES = (
    "account_id",
    "account_owner",
    "category_id",
    "check_number",
    "iso_currency_code",
    "logo_url",
    "merchant_entity_id",
    "merchant_name",
    "name",
    "original_description",
    "payment_channel",
    "pending_transaction_id",
    "personal_finance_category_icon_url",
    "transaction_code",
    "transaction_type",
    "unofficial_currency_code",
    "website",
)
PROPERTIES: dict[str, Any] = {
    "transaction_id": {"type": "string"},
    **dict.fromkeys(NAMES, TEXT),
    **dict.fromkeys(("date", "authorized_date"), TEXT | {"format": "date"}),
    **dict.fromkeys(("datetime", "authorized_datetime", "_sdc_deleted_at"), TEXT | {"format": "date-time"}),
    "location": OBJECT,
    "payment_meta": OBJECT,
    "personal_finance_category": OBJECT,
    "category": ARRAY,
    "counterparties": ARRAY,
    "amount": {"type": ["number", "null"]},
    "pending": {"type": ["boolean", "null"]},
}
SCHEMA = {
    "type": "SCHEMA",
    "stream": STREAM,
    "schema": {"properties": PROPERTIES},
    "key_properties": ["transaction_id"],
}


def messages(cursors: dict[str, str]) -> Iterator[bytes]:
    """Yield the lines of a tap: the schema, a record a change, the state after each Item."""
    encode = msgspec.json.encode
    yield encode(SCHEMA)
    for item, page in fetch(range(ITEMS), cursors):
        for row in (*page["added"], *page["modified"], *map(_gone, page["removed"])):
            yield encode({"type": "RECORD", "stream": STREAM, "record": row})
        cursors[str(item)] = page["next_cursor"]
    yield encode({"type": "STATE", "value": cursors})


def _gone(row: dict[str, Any]) -> dict[str, Any]:
    return {"transaction_id": row["transaction_id"], "_sdc_deleted_at": "2026-01-01T00:00:00Z"}


def _configuration() -> str:
    url = urlsplit(os.environ["DATABASE_URL"])
    fields = {
        "host": url.hostname,
        "port": url.port,
        "user": url.username,
        "password": url.password,
        "database": url.path.strip("/"),
        "default_target_schema": "singer",
        "add_record_metadata": True,
        "batch_size_rows": 10_000,
    }
    file = Path(tempfile.mkdtemp(prefix="bench-singer-")) / "config.json"
    file.write_text(json.dumps(fields))
    return str(file)


class Target:
    """A running target: it has told its version, so it is loaded and waits for its first line."""

    def __init__(self, configuration: str) -> None:
        argv = [str(Path(sys.executable).parent / "target-postgres"), "--config", configuration]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self._process = subprocess.Popen(argv, **pipes)
        for line in self._process.stderr:
            if b"target-postgres v" in line:
                break
        self._drain = ThreadPoolExecutor(1).submit(self._process.stderr.read)

    def take(self, lines: Iterator[bytes]) -> dict[str, str]:
        """Feed the lines, wait until the target has written everything, and return the state that it confirmed."""
        for line in lines:
            self._process.stdin.write(line + b"\n")
        confirmed = self.close().splitlines()
        state: dict[str, str] = json.loads(confirmed[-1])
        return state

    def close(self) -> bytes:
        """End the input, wait until everything is written, and return what the target said on its output."""
        self._process.stdin.close()
        said = self._process.stdout.read()
        if self._process.wait():
            raise RuntimeError(self._drain.result().decode()[-2000:])
        return said


def main() -> None:
    """Run tap and target once a round; the next target starts while nobody measures."""
    configuration, cursors, rounds = _configuration(), {}, iter((1, 2))
    waiting = [Target(configuration), Target(configuration)]

    def do_round() -> int:
        cursors.update(waiting.pop().take(messages(cursors)))
        ends = f"end-of-round-{next(rounds)}"
        return sum(cursor.endswith(ends) for cursor in cursors.values())

    serve_rounds(do_round)
    for unused in waiting:
        unused.close()


if __name__ == "__main__":
    main()
