"""The fault tests' stage, for what happens to the servers around the processes."""

from tests.faults.conftest import stage

__all__ = ["stage"]
