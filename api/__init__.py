"""The HTTP API: configuration, publishing, and the delivery monitor."""
