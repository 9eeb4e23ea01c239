"""A real RabbitMQ of a test's own, from Debian's package, with its own port mapper: nothing of it outlives the test."""

import os
import secrets
import shlex
import subprocess
from pathlib import Path

from devstack.places import answers, free_port, make_directory, server_user

# Not the one on the path: that one is for root and the service's own user only.
PROGRAMS = Path("/usr/lib/rabbitmq/bin")
USER = "manna"


class RabbitMq:
    """A server with its data; `url` stays the same over stop and start."""

    def __init__(self, supervisor, user=USER, certificate=None) -> None:
        self.supervisor = supervisor
        self.user = user
        self.certificate = certificate
        self.directory = make_directory()
        self.password = secrets.token_urlsafe(24)
        self.port, self._mapper_port, self._inner_port = free_port(), free_port(), free_port()
        supervisor.own(self.directory)

    @property
    def url(self):
        scheme = "amqps" if self.certificate else "amqp"
        return f"{scheme}://{self.user}:{self.password}@127.0.0.1:{self.port}//"

    def prepare(self):
        """Write its configuration and start the port mapper, which Erlang would leave running otherwise."""
        lines = {
            "default_user": self.user,
            "default_pass": self.password,
            "loopback_users": "none",
            **(self._over_tls() if self.certificate else {"listeners.tcp.local": f"127.0.0.1:{self.port}"}),
        }
        self._write("rabbitmq.conf", "".join(f"{name} = {value}\n" for name, value in lines.items()))
        self._write("plugins", "[].\n")
        if user := server_user():
            os.chown(self.directory, *user)
        argv = ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"]
        self.supervisor.start("epmd", argv, log=self.directory / "epmd.log", user=server_user(), cwd=self.directory)
        self.supervisor.wait_ready("epmd", lambda: answers(self._mapper_port))

    def start(self):
        """Start the server and wait until it lets clients in."""
        places = {name: str(self.directory / name.lower()) for name in ("MNESIA_BASE", "LOG_BASE", "PID_FILE")}
        told = {
            "NODENAME": f"manna{self.port}@localhost",
            "DIST_PORT": str(self._inner_port),
            "CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "CONF_ENV_FILE": os.devnull,
            "LOGS": "-",
            # One scheduler: the cores are for the whole suite.
            "SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
            **places,
        }
        self._environment = env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            **{f"RABBITMQ_{name}": value for name, value in told.items()},
        }
        log = self.directory / "rabbitmq.log"
        log.write_text("")
        self.supervisor.start(
            "rabbitmq", [str(PROGRAMS / "rabbitmq-server")], log=log, env=env, user=server_user(), cwd=self.directory
        )
        self.supervisor.wait_ready("rabbitmq", lambda: "Server startup complete" in log.read_text(errors="replace"))

    def control(self, line, given=""):
        """Run a `rabbitmqctl …` as its administrator would on its own machine."""
        program, *arguments = shlex.split(line)
        uid, gid = server_user() or (None, None)
        user = {} if uid is None else {"user": uid, "group": gid, "extra_groups": []}
        command = [str(PROGRAMS / program), *arguments]
        subprocess.run(command, env=self._environment, input=given, text=True, check=True, cwd=self.directory, **user)

    def stop(self):
        """Stop the server; what it was told stays."""
        self.supervisor.stop("rabbitmq")

    def _over_tls(self):
        files = {}
        for name, suffix in (("certfile", ".pem"), ("keyfile", ".key")):
            self._write(f"server{suffix}", self.certificate.with_suffix(suffix).read_text())
            files[f"ssl_options.{name}"] = self.directory / f"server{suffix}"
        # Nothing in the clear beside it.
        return {"listeners.tcp": "none", "listeners.ssl.local": f"127.0.0.1:{self.port}", **files}

    def _write(self, name, text):
        file = self.directory / name
        file.write_text(text)
        file.chmod(0o600)
        if user := server_user():
            os.chown(file, *user)
