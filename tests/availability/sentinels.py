"""A master, its replica and three sentinels, two of which have to agree that the master is gone."""

from devstack.places import free_port
from devstack.valkey import Valkey

NAME = "manna"
COUNT, QUORUM = 3, 2
DOWN_MS = 1000


class Sentinels:
    """Five real servers; `url` names the sentinels alone."""

    def __init__(self, supervisor, directory) -> None:
        self.supervisor = supervisor
        self.directory = directory
        self.master = Valkey(supervisor, directory, durable=True)
        self.replica_port = free_port()
        self.ports = [free_port() for _ in range(COUNT)]

    @property
    def url(self):
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"sentinel://:{self.master.password}@{hosts}/0?master={NAME}"

    def start(self):
        """Start them all, and wait until the replica follows and every sentinel knows the others."""
        self.master.start()
        password = self.master.password
        self._server(
            "replica",
            f"port {self.replica_port}\nreplicaof 127.0.0.1 {self.master.port}\nmasterauth {password}\n"
            f'requirepass {password}\nsave ""\nappendonly yes\n',
            "<-> REPLICA sync: Finished with success",
        )
        for number, port in enumerate(self.ports):
            self._server(
                f"sentinel{number}",
                f"port {port}\nsentinel monitor {NAME} 127.0.0.1 {self.master.port} {QUORUM}\n"
                f"sentinel auth-pass {NAME} {password}\nsentinel down-after-milliseconds {NAME} {DOWN_MS}\n"
                f"sentinel failover-timeout {NAME} 5000\n",
                "+monitor",
                "--sentinel",
            )
        for number in range(COUNT):
            self.wait(f"sentinel{number}", "+slave", 1)
            self.wait(f"sentinel{number}", "+sentinel sentinel", COUNT - 1)

    def said(self, name):
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def wait(self, name, word, times):
        """Wait until a server has said a word so often."""
        self.supervisor.wait_ready(name, lambda: self.said(name).count(word) >= times)

    def promoted(self):
        """Whether the replica is the master now."""
        return " MODE enabled" in self.said("replica")

    def _server(self, name, lines, word, *options):
        folder = self.directory / name
        folder.mkdir(mode=0o700)
        configuration = folder / "server.conf"
        configuration.write_text(f"bind 127.0.0.1\ndir {folder}\n{lines}")
        argv = [str(Valkey._binary()), str(configuration), *options]
        self.supervisor.start(name, argv, log=self.directory / f"{name}.log")
        self.wait(name, word, 1)
