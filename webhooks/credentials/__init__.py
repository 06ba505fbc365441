"""How a webhook authenticates to its receiver, and how its secrets are encrypted and masked."""
