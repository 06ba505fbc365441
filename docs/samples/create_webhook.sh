#!/bin/sh
# Creates a webhook for ShipmentOrderCreated and prints the answer, which shows signing_secret this once.
#
#   WEBHOOKS_KEY    an API key
#   WEBHOOKS_URL    the platform, http://localhost:8000 by default
#   WEBHOOK_TARGET  where the requests shall go
set -eu

curl --silent --show-error --fail-with-body "${WEBHOOKS_URL:-http://localhost:8000}/v1/webhooks" \
  -H "Authorization: Bearer $WEBHOOKS_KEY" \
  -H "Content-Type: application/json" \
  -d '{
    "url": "'"${WEBHOOK_TARGET:-https://api.example.com/webhooks/shipments}"'",
    "event": "ShipmentOrderCreated",
    "allowedClientIdentifiers": ["a1b2c3d4-e5f6-7890-abcd-ef1234567890", "b2c3d4e5-f6a7-8901-bcde-f12345678901"],
    "active": true,
    "name": "Shipment Order Webhook",
    "description": "Webhook for processing new shipment order notifications",
    "headers": {
      "Authorization": "Bearer webhook-token",
      "X-Custom-Header": "logiwa-webhook"
    }
  }'
