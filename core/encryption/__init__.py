"""Field encryption: text goes in, a sealed envelope lies in the database, and only its own row opens it."""

from core.encryption.column import EncryptedString
from core.encryption.keyring import Keyring, KeyStatus, current_keyring, install_keyring
from core.encryption.provider import EncryptionKeyProvider

__all__ = [
    "EncryptedString",
    "EncryptionKeyProvider",
    "KeyStatus",
    "Keyring",
    "current_keyring",
    "install_keyring",
]
