"""Rules over the sealed events, and what happens when one is met: a record, a log line, a count, a webhook."""
