r"""Verifies an export of the audit log without Manna Sync: this file, Python, and `cryptography` for Ed25519.

    manna audit export --format ndjson --out events.ndjson      # the whole log, no filter
    manna audit checkpoints --directory .                       # appends to checkpoints.ndjson
    python verify_audit.py events.ndjson checkpoints.ndjson --public-key KEY

Event `n`: SHA-256("manna-audit-v1\0" || hash of n-1 || JSON [seq, event_id, event_type, occurred_at, actor,
resource, message, context]); before the first stand 32 zero bytes. Checkpoint: Ed25519 over
"manna-audit-checkpoint-v1\0" || JSON [number, first_seq, last_seq, root, chain_hash, previous, signed_at], where
`root` is RFC 6962's over leaves of hash || sealed_at in microseconds (8 bytes, big-endian), and `previous` the
SHA-256 of the former checkpoint's signed bytes. JSON is without white space, keys sorted, in UTF-8.
"""

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FIELDS = ("seq", "event_id", "event_type", "occurred_at", "actor", "resource", "message", "context")
FACTS = ("number", "first_seq", "last_seq", "root", "chain_hash", "previous", "signed_at")
ZERO = "00" * 32
RETIRED = "audit:partition:retired"


def sha256(data: bytes) -> bytes:
    """Return the digest."""
    return hashlib.sha256(data).digest()


def to_json(value: Any) -> bytes:
    """Return the one spelling of a JSON value that is hashed and signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def merkle_root(leaves: list[bytes]) -> bytes:
    """Return the Merkle tree hash exactly as RFC 6962, section 2.1, defines it."""
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\1" + merkle_root(leaves[:split]) + merkle_root(leaves[split:]))


def leaf(event: dict[str, Any]) -> bytes:
    """Return a leaf's data: the event's hash and when it was sealed."""
    since = datetime.fromisoformat(event["sealed_at"]) - datetime(1970, 1, 1, tzinfo=UTC)
    return bytes.fromhex(event["hash"]) + (since // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)


def is_signed(checkpoint: dict[str, Any], signed: bytes, keys: list[Ed25519PublicKey]) -> bool:
    """Tell whether one of the keys signed the checkpoint."""
    for key in keys:
        try:
            key.verify(bytes.fromhex(checkpoint["signature"]), signed)
        except InvalidSignature:
            continue
        return True
    return False


def chain_problems(events: list[dict[str, Any]], before: str) -> Iterator[str]:
    """Yield what is wrong along the events; `before` is the hash that the first one must follow."""
    for place, event in enumerate(events, events[0]["seq"] if events else 1):
        if event["seq"] != place:
            yield f"event {place} is missing: {event['seq']} stands in its place"
        content = to_json([event[name] for name in FIELDS])
        expected = sha256(b"manna-audit-v1\0" + bytes.fromhex(before) + content).hex()
        if event["prev_hash"] != before or event["hash"] != expected:
            yield f"event {event['seq']} is not what was sealed"
        before = event["hash"]


def checkpoint_problems(
    checkpoints: list[dict[str, Any]], events: list[dict[str, Any]], keys: list[Ed25519PublicKey]
) -> Iterator[str]:
    """Yield what is wrong with the checkpoints, or with the events that they speak of."""
    first = events[0]["seq"] if events else 1
    previous, last_seq = ZERO, 0
    for number, checkpoint in enumerate(checkpoints, 1):
        signed = b"manna-audit-checkpoint-v1\0" + to_json([checkpoint[name] for name in FACTS])
        if (checkpoint["number"], checkpoint["first_seq"], checkpoint["previous"]) != (number, last_seq + 1, previous):
            yield f"checkpoint {number} does not follow the one before it"
        if not is_signed(checkpoint, signed, keys):
            yield f"checkpoint {number} has no valid signature by a known key"
        previous, last_seq = sha256(signed).hex(), checkpoint["last_seq"]
        if last_seq < first:
            continue  # Dropped by retention: the signature is what is left.
        covered = events[checkpoint["first_seq"] - first : last_seq - first + 1]
        root = merkle_root([leaf(event) for event in covered]).hex() if covered else ""
        if root != checkpoint["root"] or covered[-1]["hash"] != checkpoint["chain_hash"]:
            yield f"the events up to {last_seq} are not those that checkpoint {number} was signed for"


def problems(
    events: list[dict[str, Any]], checkpoints: list[dict[str, Any]], keys: list[Ed25519PublicKey]
) -> Iterator[str]:
    """Yield everything that does not hold, in the order in which it is found."""
    first = events[0]["seq"] if events else 1
    ends = {0: ZERO} | {checkpoint["last_seq"]: checkpoint["chain_hash"] for checkpoint in checkpoints}
    if first - 1 not in ends:
        yield f"events before {first} are missing and no checkpoint ends there"
    retired = {0} | {event["context"].get("last_seq") for event in events if event["event_type"] == RETIRED}
    if first - 1 not in retired:
        yield f"events before {first} are missing and were never retired"
    yield from chain_problems(events, ends.get(first - 1, ZERO))
    yield from checkpoint_problems(checkpoints, events, keys)


def read_lines(file: str) -> Iterable[dict[str, Any]]:
    """Return a file's JSON lines in order, equal ones once: an interrupted export may have written one twice."""
    return map(json.loads, dict.fromkeys(Path(file).read_text("utf-8").splitlines()))


def joined(words: list[str]) -> list[str]:
    """Return the words with each key joined to its option: one in 64 begins with a dash, as an option does."""
    text = "\0".join(words).replace("--public-key\0", "--public-key=")
    return text.split("\0") if words else []


def main() -> int:
    """Print what does not hold, or how much does, and return the exit code."""
    parser = argparse.ArgumentParser(description="Verify an exported audit log.")
    parser.add_argument("events", help="from `manna audit export --format ndjson`")
    parser.add_argument("checkpoints", help="from `manna audit checkpoints`")
    parser.add_argument(
        "--public-key", action="append", required=True, help="from `manna audit public-key`; repeatable"
    )
    given = parser.parse_args(joined(sys.argv[1:]))
    try:
        keys = [Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key)) for key in given.public_key]
        events, checkpoints = list(read_lines(given.events)), list(read_lines(given.checkpoints))
        found = next(problems(events, checkpoints, keys), None)
    except (OSError, ValueError, TypeError, LookupError) as error:
        # Nothing is proven by what cannot be read.
        print(f"the files or the key are not what Manna Sync has written: {type(error).__name__}: {error}")
        return 2
    signed = checkpoints[-1]["last_seq"] if checkpoints else 0
    print(
        found or f"{len(events)} events, every link holds; {len(checkpoints)} signatures hold, through event {signed}"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
