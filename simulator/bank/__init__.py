"""Items, accounts and ledgers, and how they change: no word about HTTP."""
