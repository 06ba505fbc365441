"""What is measured, by one command: `make bench`."""
