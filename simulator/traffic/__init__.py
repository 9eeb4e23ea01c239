"""How much is asked, how much may be, and how long it takes."""

from simulator.traffic.counts import Counts
from simulator.traffic.latency import Latency
from simulator.traffic.limits import Limits

__all__ = ["Counts", "Latency", "Limits"]
