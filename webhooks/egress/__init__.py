"""The only way out to receivers."""
