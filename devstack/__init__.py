"""Real servers from wheels and the processes around them, for `make demo`, `make up` and the tests."""
