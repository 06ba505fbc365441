"""Webhooks that we receive: verified, made an occurrence, and listed."""
