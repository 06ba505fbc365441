"""The engine: names, connection, and a development server of our own."""
