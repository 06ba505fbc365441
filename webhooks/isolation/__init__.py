"""How much of this process one webhook may hold."""
