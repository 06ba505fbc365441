// Creates a webhook for ShipmentOrderCreated and prints the answer, which shows signing_secret this once. Node 18 or
// newer.
//
//   WEBHOOKS_KEY    an API key
//   WEBHOOKS_URL    the platform, http://localhost:8000 by default
//   WEBHOOK_TARGET  where the requests shall go
const {
  WEBHOOKS_KEY,
  WEBHOOKS_URL = 'http://localhost:8000',
  WEBHOOK_TARGET = 'https://api.example.com/webhooks/shipments',
} = process.env;

const response = await fetch(`${WEBHOOKS_URL}/v1/webhooks`, {
  method: 'POST',
  headers: {
    'Authorization': `Bearer ${WEBHOOKS_KEY}`,
    'Content-Type': 'application/json',
  },
  body: JSON.stringify({
    url: WEBHOOK_TARGET,
    event: 'ShipmentOrderCreated',
    allowedClientIdentifiers: ['a1b2c3d4-e5f6-7890-abcd-ef1234567890', 'b2c3d4e5-f6a7-8901-bcde-f12345678901'],
    active: true,
    name: 'Shipment Order Webhook',
    description: 'Webhook for processing new shipment order notifications',
    headers: {
      'Authorization': 'Bearer webhook-token',
      'X-Custom-Header': 'logiwa-webhook',
    },
  }),
});

const data = await response.json();
console.log(JSON.stringify(data, null, 2));
process.exitCode = response.ok ? 0 : 1;
