"""One attempt: rendering, authentication, sending, and deactivating a webhook that keeps failing."""
