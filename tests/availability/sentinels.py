"""A master, its replica and the three sentinels that watch them, of a test's own: what the how-to describes."""

import secrets
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from redis import Redis
from redis.exceptions import RedisError

from devstack.places import free_port
from devstack.processes import Supervisor
from devstack.valkey import Valkey

MASTER = "manna"
HOST = "127.0.0.1"
QUORUM = 2


@dataclass(frozen=True)
class Tls:
    """What the servers show, as the stem of `.pem` and `.key`, and the authority that they and their clients trust."""

    certificate: Path
    authority: Path

    def configuration(self, port):
        files = {"cert": self.certificate.with_suffix(".pem"), "key": self.certificate.with_suffix(".key")}
        lines = "".join(f"tls-{name}-file {file}\n" for name, file in (files | {"ca-cert": self.authority}).items())
        # To the master, to its replica and to each other as well.
        return f"port 0\ntls-port {port}\n{lines}tls-auth-clients no\ntls-replication yes\n"


@dataclass
class Node(Valkey):
    """A server that may be a replica, and that speaks nothing but TLS where it is given a certificate.

    The embedded server is built without TLS: then it is Debian's Redis.
    """

    more: str = ""
    tls: Tls | None = None

    def client(self):
        tls = {"ssl": True, "ssl_ca_certs": str(self.tls.authority)} if self.tls else {}
        return Redis(host=HOST, port=self.port, password=self.password, socket_timeout=2, **tls)

    def ask(self, *command):
        with self.client() as client:
            return client.execute_command(*command)

    def _answers(self):
        with suppress(RedisError, OSError):
            return bool(self.ask("PING"))
        return False

    def _configuration(self, data):
        tls = self.tls.configuration(self.port) if self.tls else ""
        return f"{super()._configuration(data)}masterauth {self.password}\nrepl-diskless-sync-delay 0\n{self.more}{tls}"

    def _binary(self):
        return Path(shutil.which("redis-server")) if self.tls else super()._binary()


@dataclass
class Watcher(Node):
    """A sentinel; its password is not the servers'."""

    run_id: str = field(default_factory=lambda: secrets.token_hex(20))

    def introduce(self, watchers):
        """Tell it of the others, whom it would find by itself in a few seconds."""
        others = [f"{HOST} {other.port} {other.run_id}" for other in watchers if other is not self]
        self.more += "".join(f"sentinel known-sentinel {MASTER} {other}\n" for other in others)

    def start(self):
        data = self.directory / self.name
        data.mkdir(mode=0o700)
        file = data / "sentinel.conf"
        file.touch(mode=0o600)
        tls = self.tls.configuration(self.port) if self.tls else f"port {self.port}\n"
        passwords = f"requirepass {self.password}\nsentinel sentinel-pass {self.password}\n"
        file.write_text(f"bind {HOST}\ndir {data}\nsentinel myid {self.run_id}\n{tls}{passwords}{self.more}")
        argv = [str(self._binary()), str(file), "--sentinel"]
        self.supervisor.start(self.name, argv, log=self.directory / f"{self.name}.log")
        self.supervisor.wait_ready(self.name, self._answers)

    def state(self):
        with self.client() as client:
            return client.sentinel_master(MASTER)


@dataclass
class Sentinels:
    """Stands where one Redis would: `url` leads to whoever is the master."""

    supervisor: Supervisor
    directory: Path
    tls: Tls | None = None
    masters_tls: Tls | None = None
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    watchers_password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def hosts(self):
        return ",".join(f"{HOST}:{watcher.port}" for watcher in self.watchers)

    @property
    def url(self):
        return self.url_for(self.tls and self.tls.authority)

    def url_for(self, authority):
        """The address for a client that trusts this authority; None is in the clear."""
        scheme, query = "sentinel", {"master": MASTER, "sentinel_password": self.watchers_password}
        if authority:
            scheme, query = "rediss-sentinel", query | {"ssl_ca_certs": authority}
        return f"{scheme}://:{self.password}@{self.hosts}/0?{urlencode(query)}"

    def start(self):
        """Start all five and wait until each sentinel knows the replica."""
        self.master = self._node("master")
        self.replica = self._node("replica", more=f"replicaof {HOST} {self.master.port}\n")
        for node in (self.master, self.replica):
            node.start()
        self.watchers = [self._watcher(number) for number in range(3)]
        for watcher in self.watchers:
            watcher.introduce(self.watchers)
        for watcher in self.watchers:
            watcher.start()
        self._wait(lambda state: state["num-slaves"] == 1)

    def lose_the_master(self):
        """Kill it and return once the sentinels have made the replica the master."""
        self.master.stop(signal.SIGKILL)
        self._wait_for_the_other()

    def _wait_for_the_other(self):
        self._wait(lambda state: state["port"] == self.replica.port)
        self.master, self.replica = self.replica, self.master

    def _wait(self, is_so):
        for watcher in self.watchers:
            self.supervisor.wait_ready(watcher.name, lambda watcher=watcher: is_so(watcher.state()))

    def _node(self, name, more=""):
        tls = self.masters_tls or self.tls
        return Node(self.supervisor, self.directory, True, name, password=self.password, more=more, tls=tls)

    def _watcher(self, number):
        lines = {
            "monitor": f"{HOST} {self.master.port} {QUORUM}",
            "auth-pass": self.password,
            "down-after-milliseconds": 1000,
            "failover-timeout": 10_000,
        }
        more = "".join(f"sentinel {name} {MASTER} {value}\n" for name, value in lines.items())
        return Watcher(
            self.supervisor,
            self.directory,
            durable=False,
            name=f"sentinel{number}",
            port=free_port(),
            password=self.watchers_password,
            more=more,
            tls=self.tls,
        )
