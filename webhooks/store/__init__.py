"""Configuration in SQL: events, webhooks, subscriptions, API keys. Deliveries live in Temporal, never here."""
