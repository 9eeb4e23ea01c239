"""Refuses secrets that are no secrets: placeholders, defaults, patterns, wrong lengths, one value for two uses.

A secret is taken apart: known words, keyboard runs and repetitions are what an attacker tries first, so only what is
left of it counts. The corpus of `tests/secrets` decides where the borders lie.
"""

import base64
import binascii
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator

from core.errors import ConfigurationError
from core.secrets.names import SecretName, variable_of
from core.secrets.values import SecretValues
from core.secrets.words import KEYBOARD, WORDS
from core.settings import Settings

KEY_BYTES = 32
MINIMUM_CHARACTERS = {
    SecretName.DATABASE_PASSWORD: 12,
    SecretName.PLAID_SECRET: 24,
    SecretName.JWT_SIGNING_KEY: 32,
}
DEFAULT_MINIMUM = 16
MINIMUM_UNEXPLAINED = 10
MINIMUM_DISTINCT = 6
MINIMUM_BITS = 24.0
KEYS = (SecretName.ENCRYPTION_KEY, SecretName.ENCRYPTION_KEYS_PREVIOUS, SecretName.AUDIT_SIGNING_KEY)
PEM = "-----BEGIN "
PLACEHOLDER = re.compile(r"^<.*>$|^\$\{?\w+\}?$|^\{\{.*\}\}$|^%\w+%$|^\[.*\]$|^_+$|\.\.\.$", re.DOTALL)
REPEATED_BLOCK = re.compile(r"^(.{1,32}?)\1+.{0,3}$", re.DOTALL)
REPEATED_CHARACTER = re.compile(r"(.)\1{2,}")
# Only what looks like a letter in the middle of a word: digits of a random text stay what they are.
LEET = str.maketrans("013457@$!", "oieastasi")
RUN = 4
PRINTABLE = bytes(range(0x20, 0x7F))


def strength_check(settings: Settings) -> Callable[[SecretValues], Callable[[], None]]:
    """Return a check of all secrets that production may not do without; elsewhere it lets everything pass."""

    def check(values: SecretValues) -> Callable[[], None]:
        if settings.is_production:
            refuse_weak(values)
        return lambda: None

    return check


def refuse_weak(values: SecretValues) -> None:
    """Return if every secret is strong.

    Raises:
        ConfigurationError: names the first that is not, and what is wrong with it; the value is never shown.
    """
    if problem := next(weaknesses(values), None):
        raise ConfigurationError(problem)


def weaknesses(values: SecretValues) -> Iterator[str]:
    """Yield what is wrong with these secrets, each with the variable's name."""
    for name in values.names():
        if reason := weakness(name, values.get(name) or ""):
            yield f"{variable_of(name)} {reason}"
    yield from _shared(values)


def weakness(name: str, value: str) -> str | None:
    """Return what is wrong with one secret, or None."""
    if value != value.strip():
        return "begins or ends with white space"
    if name in KEYS:
        return next((reason for part in value.split(",") if part and (reason := _key_weakness(part.strip()))), None)
    if value.startswith(PEM):
        return None if len(value) > len(PEM) * 4 else "is a PEM block without a key"
    return _text_weakness(value, MINIMUM_CHARACTERS.get(SecretName(name), DEFAULT_MINIMUM) if _known(name) else None)


def _known(name: str) -> bool:
    return name in set(SecretName)


def _key_weakness(text: str) -> str | None:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return "is not base64url; accepted is what `manna keys generate` prints"
    if len(key) != KEY_BYTES:
        return f"has {len(key)} bytes; accepted are {KEY_BYTES}, as `manna keys generate` prints"
    return _bytes_weakness(key)


def _bytes_weakness(key: bytes) -> str | None:
    steps = {(after - before) % 256 for before, after in itertools.pairwise(key)}
    # 32 random bytes have about 30 different values; fewer than 20 do not happen by chance.
    if len(set(key)) < 20 or len(steps) < 16:  # noqa: PLR2004 - explained above
        return "is a pattern, not random bytes"
    printable = len(key) - len(key.translate(None, PRINTABLE))
    if printable == KEY_BYTES:
        return "is text in base64, not random bytes"
    return None


def _text_weakness(value: str, minimum: int | None) -> str | None:
    least = minimum or DEFAULT_MINIMUM
    if PLACEHOLDER.search(value):
        return "is a placeholder"
    if len(value) < least:
        return f"has {len(value)} characters; accepted are {least} or more"
    if len(set(value)) < MINIMUM_DISTINCT or REPEATED_BLOCK.match(value):
        return "repeats itself"
    if len(_unexplained(value)) < MINIMUM_UNEXPLAINED or _bits(_unexplained(value)) < MINIMUM_BITS:
        return "is made of known words, keyboard runs or repetitions"
    return None


def _unexplained(value: str) -> str:
    text = value.lower()
    plain = text.translate(LEET)
    left = [True] * len(text)
    for start, length in _explained(text, plain):
        left[start : start + length] = [False] * length
    return "".join(character for character, kept in zip(text, left, strict=True) if kept and character.isalnum())


def _explained(text: str, plain: str) -> Iterator[tuple[int, int]]:
    for form in {text, plain}:
        for found in WORDS.finditer(form):
            yield found.start(), len(found.group())
    for found in REPEATED_CHARACTER.finditer(text):
        yield found.start(), len(found.group())
    for start in range(len(text) - RUN + 1):
        if text[start : start + RUN] in KEYBOARD:
            yield start, RUN


def _bits(text: str) -> float:
    # Shannon's measure of the text itself: low for what repeats few characters.
    size = len(text)
    return -sum(count * math.log2(count / size) for count in Counter(text).values()) if text else 0.0


def _shared(values: SecretValues) -> Iterator[str]:
    seen: dict[str, str] = {}
    for name in values.names():
        for part in (values.get(name) or "").split(",") if name in KEYS else [values.get(name) or ""]:
            canonical = part.strip().rstrip("=")
            if other := seen.get(canonical):
                yield f"{variable_of(name)} holds the same value as {variable_of(other)}; each use needs its own"
            elif canonical:
                seen[canonical] = name
