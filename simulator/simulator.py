"""The parts of one simulator."""

from dataclasses import dataclass

from simulator.faults import Faults
from simulator.state import World
from simulator.webhooks import Webhooks


@dataclass(slots=True)
class Simulator:
    """The world, its webhooks, the faults that are set, and the one client that may ask."""

    world: World
    webhooks: Webhooks
    faults: Faults
    client_id: str
    secret: str
