"""How the platform uses Temporal: names, connection, namespace, and a development server."""
