from random import Random

import msgspec

from simulator.bank.changes import Natural


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long each call takes at least: `ms` and up to `jitter_ms` more; `paths` puts other `ms` for some."""

    ms: Natural = 0
    jitter_ms: Natural = 0
    paths: dict[str, Natural] = {}

    def seconds(self, path: str, random: Random) -> float:
        """Return how long this call takes."""
        return (self.paths.get(path, self.ms) + random.random() * self.jitter_ms) / 1000
