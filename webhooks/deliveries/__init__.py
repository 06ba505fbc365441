"""Deliveries in Temporal: start, find, read, and resend them."""
