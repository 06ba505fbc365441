"""The routes of `/v1/webhooks`: crud, actions, and what both show of a webhook (resource)."""
