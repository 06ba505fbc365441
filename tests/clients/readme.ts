// The calls of the README, with the types that openapi-typescript makes of our document. Only its types are checked.
import type { components, operations, paths } from "./api";

type Body<Operation extends keyof operations> =
  operations[Operation] extends { requestBody?: { content: { "application/json": infer Type } } } ? Type : never;
type Answer<Operation extends keyof operations, Status extends number> =
  operations[Operation] extends { responses: { [status in Status]: { content: { "application/json": infer Type } } } }
    ? Type
    : never;

export const event: Body<"createEvent"> = { key: "OrderPlaced" };

export const webhook: Body<"createWebhook"> = {
  url: "http://127.0.0.1:9000/orders",
  event: "OrderPlaced",
  allowedClientIdentifiers: [],
  authentication: { type: "Key Value Pair", name: "X-Api-Key", value: "secret", in: "header" },
  retry_policy: "standard",
};

export const occurrence: Body<"publishOccurrence"> = {
  id: "order-4711",
  event: "OrderPlaced",
  data: { order: { id: 4711 } },
};

export const query: paths["/v1/deliveries"]["get"]["parameters"]["query"] = { occurrence_id: ["order-4711"] };

export function waiting(deliveries: Answer<"listDeliveries", 200>): string[] {
  return deliveries.items.filter((delivery) => delivery.status === "retrying").map((delivery) => delivery.id);
}

export const resend: Body<"resendDelivery"> = { force: true };

export function secret(created: Answer<"createWebhook", 201>): string {
  return created.signing_secret;
}

export function fields(problem: components["schemas"]["Problem"]): string[] {
  return (problem.errors ?? []).map((error) => error.pointer ?? error.parameter ?? "");
}

// @ts-expect-error a webhook needs a URL
export const wrong: Body<"createWebhook"> = { event: "OrderPlaced" };
