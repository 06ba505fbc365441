"""Requests and responses, one resource a file."""
