"""The benchmark: `python -m benchmarks` measures this service against the limit and against its peers."""
