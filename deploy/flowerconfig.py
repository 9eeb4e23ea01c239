"""Flower behind a password: `user:password` from the secret `flower_basic_auth`, several separated by commas."""

import os
from pathlib import Path

_directory = Path(os.environ.get("SECRETS_DIRECTORY", "/run/secrets"))
basic_auth = (_directory / "flower_basic_auth").read_text("utf-8").strip().split(",")
# Tasks that Flower has seen are kept in memory only; ids and names are all that they hold.
max_tasks = 10_000
