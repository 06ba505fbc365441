"""The HTTP front end: configuration, publishing, and the delivery monitor."""
