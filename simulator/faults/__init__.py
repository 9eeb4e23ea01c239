"""What can go wrong between Plaid and its client, on demand: see the README for every kind."""

from simulator.faults.events import Churn, Evolve, RemoveItem
from simulator.faults.exchange import Body, Cut, Delay, Hold, Html, Truncate
from simulator.faults.fault import Faults
from simulator.faults.pages import EmptyPage, MalformedTransaction, NullCursor, Patch, Split, Stuck, UnknownValues
from simulator.faults.refusals import Error, ForeignCursor, Mutation, OutdatedCursor, StickyMutation

AnyExchangeFault = (
    Body
    | Churn
    | Cut
    | Delay
    | EmptyPage
    | Error
    | Evolve
    | ForeignCursor
    | Hold
    | Html
    | MalformedTransaction
    | Mutation
    | NullCursor
    | OutdatedCursor
    | Patch
    | RemoveItem
    | Split
    | StickyMutation
    | Stuck
    | Truncate
    | UnknownValues
)

__all__ = ["AnyExchangeFault", "Faults"]
