"""A small HTTP server that speaks what Manna Sync uses of Vault's API: KV version 2, AppRole and Kubernetes log-in."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4


class VaultServer(ThreadingHTTPServer):
    """Holds one KV document, the credentials that it accepts, and the tokens that it gave."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.document = {}
        self.path = "secret/data/manna"
        self.logins = {
            "approle": {"role_id": "role", "secret_id": "the-secret-id"},
            "kubernetes": {"role": "manna", "jwt": "the-service-account"},
        }
        self.tokens = {"root-token"}
        self.sealed = self.behind_a_proxy = False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.sealed:
            self.answer(503, {"errors": ["Vault is sealed"]})
        elif self.headers["X-Vault-Token"] not in self.server.tokens:
            self.answer(403, {"errors": ["permission denied"]})
        elif self.path == f"/v1/{self.server.path}" and self.server.document is not None:
            self.answer(200, {"data": {"data": self.server.document, "metadata": {"version": 1}}})
        else:
            self.answer(404, {"errors": []})

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = self.path.removeprefix("/v1/auth/").removesuffix("/login")
        if self.server.logins.get(method) != given:
            self.answer(400, {"errors": ["invalid role or secret ID"]})
            return
        token = f"hvs.{uuid4().hex}"
        self.server.tokens.add(token)
        self.answer(200, {"auth": {"client_token": token, "lease_duration": 3600, "renewable": True}})

    def answer(self, status, document):
        body = b"<html>Sign in</html>" if self.server.behind_a_proxy else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def open_vault():
    with VaultServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
