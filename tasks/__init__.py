"""One file a task: unpack, one call, verdict."""
