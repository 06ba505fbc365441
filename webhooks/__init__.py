"""The library: everything that webhook delivery is, with no knowledge of FastAPI or of who runs it."""

VERSION = "0.1.0"
USER_AGENT = f"durable-webhooks/{VERSION}"
