"""One attempt."""
