"""What an envelope withstands: another place, another key, any change, threads, forks, and its own key's end."""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from core.encryption.cipher import PREFIX, context_of, from_base64url, to_base64url
from core.encryption.keyring import Keyring, KeyStatus
from core.encryption.uses import REFUSE_AT, WARN_AT, KeyExhaustedError
from core.errors import ConfigurationError, EncryptionError

TOKEN = "access-production-5f0c1a2b-3c4d-4e5f-8a9b-0c1d2e3f4a5b"
EACH = 100_000
PLACE = context_of("plaid_items", "plaid_access_token", "018f3e5c-0000-7000-8000-000000000001")


@pytest.fixture
def keyring():
    return Keyring.of(os.urandom(32))


def opens(keyring: Keyring, sealed: str, place: bytes = PLACE) -> bool:
    """Tell whether it opens; the only other end is the one error with the one message."""
    try:
        keyring.open(sealed, place)
    except EncryptionError as error:
        assert (type(error), str(error)) == (EncryptionError, "Failed to decrypt data")  # noqa: PT017 - one of two ends
        return False
    return True


def test_a_thousand_swaps_between_rows_columns_and_tables_are_refused(keyring):
    chance = random.Random(5)
    places = [(f"t{chance.randrange(5)}", f"c{chance.randrange(5)}", str(chance.randrange(100))) for _ in range(1100)]
    sealed = {place: keyring.seal(TOKEN, context_of(*place)) for place in places}
    swaps = [(a, b) for a, b in pairwise(places) if a != b]
    assert len(swaps) >= 1000
    assert [a for a, b in swaps if opens(keyring, sealed[a], context_of(*b))] == []
    assert all(opens(keyring, sealed[place], context_of(*place)) for place in places)


def test_two_places_never_spell_the_same_associated_data():
    assert context_of("a", "bc", "1") != context_of("ab", "c", "1")
    assert context_of("a", "b", "1", "2") != context_of("a", "b", "12")


def test_every_flipped_bit_is_refused(keyring):
    sealed = keyring.seal(TOKEN, PLACE)
    envelope = from_base64url(sealed.removeprefix(PREFIX))
    for bit in range(len(envelope) * 8):
        changed = bytearray(envelope)
        changed[bit // 8] ^= 1 << bit % 8
        assert not opens(keyring, PREFIX + to_base64url(bytes(changed))), bit


def test_every_truncation_and_extension_is_refused(keyring):
    sealed = keyring.seal(TOKEN, PLACE)
    envelope = from_base64url(sealed.removeprefix(PREFIX))
    for length in range(len(envelope)):
        assert not opens(keyring, PREFIX + to_base64url(envelope[:length])), length
    for more in (b"\0", b"\xff", bytes(16), envelope):
        assert not opens(keyring, PREFIX + to_base64url(envelope + more))
        assert not opens(keyring, PREFIX + to_base64url(more + envelope))
    for length in range(len(sealed)):
        assert not opens(keyring, sealed[:length]), length
    for more in ("=", "==", "A", "\n", " ", "é", sealed):
        assert not opens(keyring, sealed + more)


def test_every_other_letter_is_refused(keyring):
    sealed = keyring.seal(TOKEN, PLACE)
    for position in range(len(sealed)):
        for letter in ("+", "/", "=", "\n", "é", "A" if sealed[position] != "A" else "B"):
            assert not opens(keyring, sealed[:position] + letter + sealed[position + 1 :]), position


@pytest.mark.parametrize("size", range(4))
def test_idle_bits_give_no_second_spelling(keyring, size):
    sealed = keyring.seal("x" * size, PLACE)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [letter for letter in alphabet if opens(keyring, sealed[:-1] + letter)] == [sealed[-1]]


def test_another_key_opens_nothing(keyring):
    assert not opens(Keyring.of(os.urandom(32)), keyring.seal(TOKEN, PLACE))


def test_the_same_text_never_seals_to_the_same_envelope(keyring):
    assert len({keyring.seal(TOKEN, PLACE) for _ in range(1000)}) == 1000


def test_no_key_shows_in_a_repr(keyring):
    for shown in (repr(keyring), repr(keyring.primary), str(keyring)):
        assert keyring.primary.key_id in shown
        assert len(shown) < 250


def test_sixteen_keys_open_what_each_of_them_sealed():
    secrets = [os.urandom(32) for _ in range(16)]
    keyring = Keyring.of(secrets[0], tuple(secrets[1:]))
    for secret in secrets:
        assert keyring.open(Keyring.of(secret).seal(TOKEN, PLACE), PLACE) == TOKEN
    assert keyring.seal(TOKEN, PLACE).startswith(Keyring.of(secrets[0]).primary.stem)


def test_a_status_decides_what_seals_and_what_opens():
    old, new = os.urandom(32), os.urandom(32)
    old_id, new_id = Keyring.of(old).wanted, Keyring.of(new).wanted
    keyring = Keyring.of(new, (old,))
    staged = keyring.under({old_id: KeyStatus.ACTIVE, new_id: KeyStatus.PENDING})
    assert staged.primary.key_id == old_id
    assert opens(staged, Keyring.of(new).seal(TOKEN, PLACE))
    promoted = keyring.under({old_id: KeyStatus.DECRYPT_ONLY, new_id: KeyStatus.ACTIVE})
    assert promoted.primary.key_id == new_id
    assert opens(promoted, Keyring.of(old).seal(TOKEN, PLACE))
    destroyed = keyring.under({old_id: KeyStatus.DESTROYED, new_id: KeyStatus.ACTIVE})
    assert not opens(destroyed, Keyring.of(old).seal(TOKEN, PLACE))


def test_an_id_that_two_keys_share_is_refused(monkeypatch):
    first = Keyring.of(os.urandom(32)).primary
    monkeypatch.setattr("core.encryption.cipher.derive", lambda secret, info, length, salt=None: bytes(length))
    twin = Keyring.of(bytes(32)).primary
    assert twin.key_id != first.key_id
    monkeypatch.setattr(
        "core.encryption.cipher.derive",
        lambda secret, info, length, salt=None: (bytes(4) if info.endswith(b"key-id") else secret * 2)[:length],
    )
    with pytest.raises(ConfigurationError, match="two encryption keys have the id 00000000"):
        Keyring.of(os.urandom(32), (os.urandom(32),))


def test_threads_with_keys_of_their_own_never_mix_them_up():
    def work(number: int) -> int:
        keyring, place = Keyring.of(bytes([number + 1]) * 31 + b"x"), context_of("t", "c", str(number))
        texts = (f"{number}:{turn}" for turn in range(EACH))
        wrong = sum(keyring.open(keyring.seal(text, place), place) != text for text in texts)
        assert keyring.primary.uses.here == EACH
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [0] * 8


def test_one_key_in_eight_threads_counts_every_seal(keyring):
    with ThreadPoolExecutor(8) as pool:
        envelopes = set(pool.map(lambda _: keyring.seal(TOKEN, PLACE), range(8000)))
    assert len(envelopes) == 8000
    assert keyring.primary.uses.unreported() == 8000


def test_forks_share_a_key_and_never_a_nonce(keyring):
    readers = []
    for _ in range(4):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.write(writer, "\n".join(keyring.seal(TOKEN, PLACE) for _ in range(100)).encode())
            os._exit(0)
        os.close(writer)
        readers.append(reader)
    envelopes = []
    for reader in readers:
        with os.fdopen(reader) as lines:
            envelopes += lines.read().splitlines()
        os.wait()
    assert len(set(envelopes)) == 400
    assert all(opens(keyring, sealed) for sealed in envelopes)


def test_a_key_warns_once_at_half_of_its_uses_and_refuses_at_its_end(keyring):
    uses = keyring.primary.uses
    with capture_logs() as lines:
        uses.reported(0, WARN_AT)
        keyring.seal(TOKEN, PLACE)
        keyring.seal(TOKEN, PLACE)
    assert [line["event"] for line in lines] == ["key_nearly_used_up"]
    sealed = keyring.seal(TOKEN, PLACE)
    uses.reported(0, REFUSE_AT)
    with pytest.raises(KeyExhaustedError, match="run manna keys rotate"):
        keyring.seal(TOKEN, PLACE)
    assert opens(keyring, sealed)


def test_a_text_without_utf8_is_refused_without_being_shown(keyring):
    with pytest.raises(EncryptionError) as refused:
        keyring.seal(TOKEN + "\ud800", PLACE)
    assert TOKEN not in repr(refused.value)
    assert refused.value.__suppress_context__
