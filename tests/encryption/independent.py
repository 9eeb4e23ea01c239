"""Opens an envelope: written from docs/reference/envelope.md alone, with nothing of the product.

python tests/encryption/independent.py KEY TABLE COLUMN ROW_KEY < envelope
"""

import base64
import sys

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def derive(key, what, length):
    info = b"manna-sync/field/v1/" + what
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=None, info=info).derive(key)


def open_envelope(key, text, table, column, *row_key):
    prefix, envelope = text[:10], unbase64(text[10:])
    header, nonce = envelope[:38], envelope[38:50]
    ciphertext, tag = envelope[50:-16], envelope[-16:]
    expected = b"\x01\x01" + derive(key, b"key-id", 4) + derive(key, b"commitment", 32)
    if prefix != "sealed:v1:" or header != expected:
        raise ValueError("not an envelope of this key")
    opening = Cipher(algorithms.AES(derive(key, b"aes-256-gcm", 32)), modes.GCM(nonce, tag)).decryptor()
    opening.authenticate_additional_data(header)
    for part in (table, column, *row_key):
        opening.authenticate_additional_data(len(part.encode()).to_bytes(4, "big") + part.encode())
    return (opening.update(ciphertext) + opening.finalize()).decode()


if __name__ == "__main__":
    sys.stdout.write(open_envelope(unbase64(sys.argv[1]), sys.stdin.read().strip(), *sys.argv[2:]))
