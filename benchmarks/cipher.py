"""Field encryption against raw AES-256-GCM, Google Tink and sqlalchemy-utils, in one interleaved run.

    python -m benchmarks.cipher [--seconds 1] [--rounds 5] [--threads 100000] [--keep]

One operation is a round trip of a 60-byte token: text to what is stored in a text column, and back. Only ours commits
to its key; sqlalchemy-utils binds no context either. Tink works on bytes, so it is measured twice: as a text column
needs it, in base64url, which is what ours is compared with; and on bytes. Raw AES-GCM works on bytes too: the floor.
Tink and sqlalchemy-utils take part where they are installed (`pip install tink sqlalchemy-utils`); the product needs
neither. Figures are CPU time, so a neighbour's load counts little; compare the ratios. Also: sixteen keys against one,
and with `--threads 100000` E12 once more.
"""

import argparse
import base64
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.kept import Log, keep
from core.encryption.cipher import context_of
from core.encryption.keyring import Keyring

TOKEN = "access-production-" + "5f0c1a2b" * 5 + "ab"
PLACE = context_of("plaid_items", "plaid_access_token", uuid4())
Operation = Callable[[], object]
RAW, ONE, SIXTEEN = "raw AES-256-GCM, bytes", "manna, text, 1 key", "manna, text, 16 keys"
TINK, UTILS = "tink, text", "sqlalchemy-utils GCM, text"


def raw() -> Operation:
    """AES-256-GCM with associated data and a random nonce, on bytes: the floor."""
    aead, token = AESGCM(os.urandom(32)), TOKEN.encode()

    def operation() -> bytes:
        nonce = os.urandom(12)
        return aead.decrypt(nonce, aead.encrypt(nonce, token, PLACE), PLACE)

    return operation


def manna(keys: int) -> Operation:
    """Seal under the primary of so many keys, and open."""
    keyring = Keyring.of(os.urandom(32), tuple(os.urandom(32) for _ in range(keys - 1)))
    return lambda: keyring.open(keyring.seal(TOKEN, PLACE), PLACE)


def tink(*, as_text: bool) -> Operation:
    """Tink's AEAD with AES256_GCM and associated data: text to base64url and back, or on bytes."""
    from tink import aead, new_keyset_handle  # noqa: PLC0415 - takes part where it is installed

    aead.register()
    primitive, token = new_keyset_handle(aead.aead_key_templates.AES256_GCM).primitive(aead.Aead), TOKEN.encode()

    def text() -> str:
        stored = base64.urlsafe_b64encode(primitive.encrypt(TOKEN.encode(), PLACE)).decode()
        opened: bytes = primitive.decrypt(base64.urlsafe_b64decode(stored), PLACE)
        return opened.decode()

    return text if as_text else lambda: primitive.decrypt(primitive.encrypt(token, PLACE), PLACE)


def sqlalchemy_utils() -> Operation:
    """What `EncryptedType(engine=AesGcmEngine)` does to a value, text to text."""
    from sqlalchemy_utils.types.encrypted.encrypted_type import AesGcmEngine  # noqa: PLC0415 - as above

    engine = AesGcmEngine()
    engine._update_key("a key")
    return lambda: engine.decrypt(engine.encrypt(TOKEN))


def rate(operation: Operation, seconds: float) -> float:
    """Return operations per second of CPU."""
    begun, done = time.process_time(), 0
    while (spent := time.process_time() - begun) < seconds:
        for _ in range(1000):
            operation()
        done += 1000
    return done / spent


def contestants() -> dict[str, Operation]:
    """Return what takes part."""
    found = {RAW: raw(), ONE: manna(1), SIXTEEN: manna(16)}
    others: dict[str, Callable[[], Operation]] = {
        TINK: lambda: tink(as_text=True),
        "tink, bytes": lambda: tink(as_text=False),
        UTILS: sqlalchemy_utils,
    }
    for name, make in others.items():
        try:
            found[name] = make()
        except ImportError:
            print(f"{name} is not installed and takes no part")
    return found


def broken(medians: dict[str, float]) -> list[str]:
    """Return which promises the figures do not keep (E5, E6, and to be ahead of the others)."""
    one = medians[ONE]
    behind = [f"behind {name}" for name in (TINK, UTILS) if medians.get(name, 0) >= one]
    slow = ["less than 0.40 of raw"] if one / medians[RAW] < 0.40 else []  # noqa: PLR2004 - E6
    keys = ["16 keys cost 5 % or more"] if 1 - medians[SIXTEEN] / one >= 0.05 else []  # noqa: PLR2004 - E5
    return slow + keys + behind


def mixed_up(operations: int) -> int:
    """E12: eight threads with keys of their own; return how many values came out wrong."""

    def work(number: int) -> int:
        keyring, place = Keyring.of(os.urandom(32)), context_of("t", "c", number)
        texts = (f"{number}:{turn}" for turn in range(operations))
        return sum(keyring.open(keyring.seal(text, place), place) != text for text in texts)

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(work, range(8)))


def main() -> int:
    """Print the table; exit code 1 if a promise (E5, E6, E12, ahead of the others) is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="operations of each of eight threads; E12 says 100000")
    parser.add_argument("--keep", action="store_true", help="write the table into benchmarks/SECURITY.md")
    given, log = parser.parse_args(), Log()
    measured: dict[str, list[float]] = {}
    operations = contestants()
    for _ in range(given.rounds):
        for name, operation in operations.items():
            measured.setdefault(name, []).append(rate(operation, given.seconds))
    medians = {name: statistics.median(rates) for name, rates in measured.items()}
    log.say(f"{'60-byte token, round trips per second of CPU':48} {'':>9}  of raw")
    for name, median in medians.items():
        log.say(f"{name:48} {median:9,.0f}  {median / medians[RAW]:6.2f}")
    slower = 1 - medians[SIXTEEN] / medians[ONE]
    log.say(f"ratio to raw {medians[ONE] / medians[RAW]:.2f} (at least 0.40); 16 keys cost {slower:.1%} (under 5 %)")
    problems = broken(medians)
    if given.threads:
        wrong = mixed_up(given.threads)
        log.say(f"8 threads x {given.threads:,} operations with distinct keys: {wrong} mixed up (0)")
        problems += ["values mixed up"] if wrong else []
    log.say("broken: " + ", ".join(problems) if problems else "every promise held")
    if given.keep:
        keep("Field encryption", log.lines)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
