"""Creates a webhook for ShipmentOrderCreated and prints the answer, which shows signing_secret this once.

WEBHOOKS_KEY    an API key
WEBHOOKS_URL    the platform, http://localhost:8000 by default
WEBHOOK_TARGET  where the requests shall go
"""

import json
import os
import sys

import requests

url = os.environ.get("WEBHOOKS_URL", "http://localhost:8000") + "/v1/webhooks"
headers = {
    "Authorization": f"Bearer {os.environ['WEBHOOKS_KEY']}",
    "Content-Type": "application/json",
}
payload = {
    "url": os.environ.get("WEBHOOK_TARGET", "https://api.example.com/webhooks/shipments"),
    "event": "ShipmentOrderCreated",
    "allowedClientIdentifiers": ["a1b2c3d4-e5f6-7890-abcd-ef1234567890", "b2c3d4e5-f6a7-8901-bcde-f12345678901"],
    "active": True,
    "name": "Shipment Order Webhook",
    "description": "Webhook for processing new shipment order notifications",
    "headers": {
        "Authorization": "Bearer webhook-token",
        "X-Custom-Header": "logiwa-webhook",
    },
}

response = requests.post(url, headers=headers, json=payload, timeout=30)
json.dump(response.json(), sys.stdout, indent=2)
sys.exit(not response.ok)
