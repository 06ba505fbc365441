"""A platform and a receiver for tests, the demo and the benchmark."""
