import argparse
import logging
import socket
import sys

import uvicorn

from simulator.app import make_app
from simulator.connection import CuttableProtocol
from simulator.simulator import Simulator

# Longer than clients keep an idle connection: the end of one that is about to be used would look like a fault.
KEEP_ALIVE_SECONDS = 120
EXAMPLE = "example: python -m simulator --port 8099"


def main() -> None:
    """Serve until the process is told to end."""
    parser = argparse.ArgumentParser(prog="simulator", description="A stand-alone Plaid server.", epilog=EXAMPLE)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--client-id", default="sandbox-client")
    parser.add_argument("--secret", default="sandbox-secret")
    parser.add_argument("--seed", type=int, help="makes the data repeatable")
    chosen = parser.parse_args()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((chosen.host, chosen.port))
    except (OSError, OverflowError) as error:
        sys.exit(f"simulator: cannot listen on {chosen.host}:{chosen.port}: {error}")
    app = make_app(Simulator(chosen.client_id, chosen.secret, chosen.seed))
    logging.getLogger("httpx").setLevel(logging.WARNING)
    listener.listen(1024)
    sys.stdout.write(f"simulator listening on http://{chosen.host}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(
        app,
        http=CuttableProtocol,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
