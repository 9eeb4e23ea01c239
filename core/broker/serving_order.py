"""The order in which a worker looks into its queues: that of `Queue`, however its command names them.

Redis is asked for the first queue that holds something. Behind one that is never empty, such as the schedule's while a
fleet catches up, nothing is served: so what is short and what somebody waits for comes first.
"""

from collections.abc import Iterable

from kombu.utils.scheduling import priority_cycle

from core.broker.messages import Queue

RANKS = {queue.value: rank for rank, queue in enumerate(Queue)}


class InOurOrder(priority_cycle):
    """kombu's strategy of that kind; the transport's settings name it by its path."""

    def update(self, it: Iterable[str]) -> None:
        """Take the queues that the worker serves."""
        ours = sorted(it, key=lambda name: RANKS.get(name, len(RANKS)))
        super().update(ours)  # type: ignore[no-untyped-call]  # kombu's
