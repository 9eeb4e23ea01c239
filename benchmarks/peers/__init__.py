"""The peers, each written as its own documentation advises; they run in `.venv-bench` and know only `work`."""
