"""TLS to PostgreSQL in libpq's words: `sslmode`, `sslrootcert`, `sslcert` and `sslkey` of `DATABASE_URL`."""

import ssl
from collections.abc import Mapping
from typing import Any

from core.errors import ConfigurationError

PLAIN_MODES = ("disable", "allow", "prefer")
ENCRYPTED_MODES = ("require", "verify-ca", "verify-full")
SSL_PARAMETERS = ("sslmode", "sslrootcert", "sslcert", "sslkey")


def tls_argument(query: Mapping[str, Any]) -> ssl.SSLContext | str:
    """Return what asyncpg takes as `ssl`: a mode that verifies nothing, or the context that verifies.

    Stricter than libpq in one point: `verify-ca` and `verify-full` without `sslrootcert` trust the system's
    authorities instead of failing.

    Raises:
        ConfigurationError: an unknown mode, or a certificate that cannot be read.
    """
    mode = str(query.get("sslmode", "prefer"))
    if mode not in (*PLAIN_MODES, *ENCRYPTED_MODES):
        accepted = ", ".join((*PLAIN_MODES, *ENCRYPTED_MODES))
        raise ConfigurationError(f"DATABASE_URL has sslmode={mode}; accepted are {accepted}")
    if mode in PLAIN_MODES or (mode == "require" and not query.keys() & {"sslcert", "sslrootcert"}):
        return mode
    return _context(mode, query)


def _context(mode: str, query: Mapping[str, Any]) -> ssl.SSLContext:
    authorities = query.get("sslrootcert")
    try:
        context = ssl.create_default_context(cafile=None if authorities == "system" else authorities)
        if "sslcert" in query:
            context.load_cert_chain(query["sslcert"], query.get("sslkey"))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"DATABASE_URL names a certificate that cannot be read: {error}") from None
    context.check_hostname = mode == "verify-full"
    if mode == "require" and not authorities:
        # A client certificate alone asks for no verification of the server; an authority does, as with libpq.
        context.verify_mode = ssl.CERT_NONE
    return context
