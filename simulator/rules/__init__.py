"""Which faults are set, whom they strike and how often, and what they hold back."""
