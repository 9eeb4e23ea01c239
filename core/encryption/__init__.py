"""Field encryption: text goes in, a sealed envelope lies in the database, and only its own row opens it."""

from core.encryption.column import EncryptedString
from core.encryption.keyring import EncryptionKeyProvider, Keyring, current_keyring, install_keyring

__all__ = ["EncryptedString", "EncryptionKeyProvider", "Keyring", "current_keyring", "install_keyring"]
