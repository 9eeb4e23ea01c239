"""`sslmode` from `require` to `verify-full`, against a real server with good and bad certificates."""

import ssl
import sys
from contextlib import asynccontextmanager, contextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.database import open_database
from core.errors import ConfigurationError
from core.settings import load_settings
from tests.database.conftest import HOST

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wheel of a PostgreSQL with TLS is Linux's alone")

IN_USE = text("SELECT ssl, version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


@contextmanager
def serving(postgres, certificate, authority):
    postgres.present(certificate, authority)
    postgres.start()
    try:
        yield postgres.url
    finally:
        postgres.stop()


@asynccontextmanager
async def database(url, **parameters):
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    opened = open_database(load_settings(connect_timeout_seconds=5), f"{url}?{query}")
    try:
        yield opened
    finally:
        await opened.close()


async def connection_in_use(url, **parameters):
    async with database(url, **parameters) as opened, opened.connection() as connection:
        return (await connection.execute(IN_USE)).one()


async def test_verify_full_takes_the_right_server(tls_postgres, authority):
    with serving(tls_postgres, authority.issue("good", HOST), authority) as url:
        used = await connection_in_use(url, sslmode="verify-full", sslrootcert=authority.file)
    assert used.ssl
    assert used.version == "TLSv1.3"


async def test_an_expired_certificate_gets_no_connection(tls_postgres, authority):
    expired = authority.issue("expired", HOST, expired=True)
    with serving(tls_postgres, expired, authority) as url:
        for mode in ("verify-full", "verify-ca"):
            with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
                await connection_in_use(url, sslmode=mode, sslrootcert=authority.file)


async def test_a_stranger_s_certificate_gets_no_connection(tls_postgres, authority, stranger):
    with serving(tls_postgres, stranger.issue("strange", HOST), authority) as url:
        for mode in ("verify-full", "verify-ca", "require"):
            with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer|self-signed"):
                await connection_in_use(url, sslmode=mode, sslrootcert=authority.file)


async def test_another_host_s_certificate_is_refused_by_verify_full_alone(tls_postgres, authority):
    with serving(tls_postgres, authority.issue("other", "database.example"), authority) as url:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for '127.0.0.1'"):
            await connection_in_use(url, sslmode="verify-full", sslrootcert=authority.file)
        assert (await connection_in_use(url, sslmode="verify-ca", sslrootcert=authority.file)).ssl
        assert (await connection_in_use(url, sslmode="require")).ssl


async def test_a_client_certificate_logs_in_without_a_password(tls_postgres, authority, stranger):
    client = authority.issue("client", common_name="certified")
    forged = stranger.issue("forged", common_name="certified")
    with serving(tls_postgres, authority.issue("good", HOST), authority) as url:
        bare = url.replace(f"manna:{tls_postgres.password}@", "certified@")
        full = {"sslmode": "verify-full", "sslrootcert": authority.file}
        used = await connection_in_use(
            bare, **full, sslcert=client.with_suffix(".pem"), sslkey=client.with_suffix(".key")
        )
        assert "/CN=certifie" in used.client_dn
        for pair in ({}, {"sslcert": forged.with_suffix(".pem"), "sslkey": forged.with_suffix(".key")}):
            with pytest.raises((DBAPIError, OSError)):
                await connection_in_use(bare, **full, **pair)


async def test_disable_sends_in_the_clear(tls_postgres, authority):
    with serving(tls_postgres, authority.issue("good", HOST), authority) as url:
        assert not (await connection_in_use(url, sslmode="disable")).ssl


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "SSL connection required"),
        ("?sslmode=prefer", "SSL connection required"),
        ("?sslmode=require", "does not prove which server answers"),
        ("?sslmode=verify-ca", "does not prove which server answers"),
    ],
)
def test_production_asks_for_verify_full(monkeypatch, query, reason):
    monkeypatch.setenv("MANNA_ENVIRONMENT", "production")
    with pytest.raises(ConfigurationError, match=reason):
        open_database(load_settings(), f"postgresql://manna:pw@db/manna{query}")


def test_production_may_accept_a_server_that_it_cannot_verify(monkeypatch):
    monkeypatch.setenv("MANNA_ENVIRONMENT", "production")
    monkeypatch.setenv("MANNA_ACCEPT_RISK", "DATABASE_TLS_VERIFICATION")
    assert open_database(load_settings(), "postgresql://manna:pw@db/manna?sslmode=require")


@pytest.mark.parametrize("query", ["sslmode=full", "sslmode=verify-full&sslrootcert=/nowhere/ca.pem"])
def test_what_cannot_be_is_one_line(query):
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        open_database(load_settings(), f"postgresql://db/manna?{query}")
