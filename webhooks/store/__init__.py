"""The configuration in SQL: events, webhooks, subscriptions, API keys. Deliveries are stored in Temporal only."""
