"""A platform and a receiver for tests, demo and bench."""
