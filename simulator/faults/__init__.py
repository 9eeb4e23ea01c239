"""What can go wrong between Plaid and its client, on demand: see the README for every kind."""

from simulator.faults.kinds import Cut, Error, Hold, Mutation
from simulator.faults.rules import Faults

AnyFault = Hold | Cut | Error | Mutation

__all__ = ["AnyFault", "Faults"]
