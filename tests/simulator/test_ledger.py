"""Whatever happens to a ledger, and wherever a reader stopped: the pages bring it to the truth."""

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.bank.changes import Changes, churn, evolve, extract
from simulator.bank.ledger import REMOVED
from simulator.bank.paging import page_after
from simulator.bank.world import World

CHANGES = st.builds(
    Changes,
    added=st.integers(0, 4),
    modified=st.integers(0, 3),
    removed=st.integers(0, 3),
    posted=st.integers(0, 3),
    split=st.sampled_from([None, "removed_last", "removed_first"]),
)


class Reader:
    """Keeps rows as a client does that applies whole loops."""

    def __init__(self, item):
        self.item = item
        self.rows = {}
        self.cursor = ""

    def read(self, count):
        gone, more = [], True
        while more:
            page = page_after(self.item, self.cursor, count)
            self.cursor, more = page.next_cursor, page.has_more
            for entry, kind in zip(*page.changes, strict=True):
                if kind == REMOVED:
                    gone.append(entry.transaction_id)
                else:
                    self.rows[entry.transaction_id] = entry.body()
        for transaction_id in gone:
            del self.rows[transaction_id]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(0, 12), st.integers(1, 9), st.integers(0, 2**32))
def test_readers_that_stop_anywhere_come_to_the_truth(data, transactions, count, seed):
    world = World(seed)
    item = world.add_item(transactions)
    extract(world, item)
    readers = [Reader(item), Reader(item)]
    for step in data.draw(st.lists(CHANGES, max_size=6)):
        if data.draw(st.booleans()):
            data.draw(st.sampled_from(readers)).read(count)
        evolve(world, item, step)
        if data.draw(st.integers(0, 5)) == 0:
            churn(world, item, keep_transaction_ids=data.draw(st.booleans()))
    extract(world, item)
    for reader in readers:
        reader.read(count)
        assert reader.rows == {entry.transaction_id: entry.body() for entry in item.ledger.standing()}
