"""One sentence or two on a delivery: what happened, and what to do. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.pages.shown import duration, outcome, short_outcome

_MAX_QUOTED = 120
"""Characters of the receiver's own words. Longer ones are only shown below, with its answer."""
_SAYING = ("message", "error", "detail", "title", "error_description", "reason")
"""Members of a JSON answer in which receivers say what is wrong."""


@dataclass(frozen=True)
class Advice:
    """`tone` is `good`, `bad`, `slow` or `busy`."""

    tone: str
    text: str


_WHY = {
    "http_400": "The receiver refused the payload (400). It would refuse the same bytes again, so there is no retry. "
    "Compare its answer with the event's template, and correct one of them.",
    "http_401": "The receiver did not accept the credentials (401). Correct the webhook's authentication.",
    "http_403": "The receiver knows the credentials but does not allow this (403). Ask its operator.",
    "http_404": "The receiver has nothing at this path (404). Correct the webhook's URL.",
    "http_405": "The receiver does not accept this method (405). Choose the other one in the webhook: POST or PUT.",
    "http_413": "The payload is too large for the receiver (413). Use a template that sends less.",
    "http_415": "The receiver does not accept this format (415). Choose another one in the webhook.",
    "http_422": "The receiver cannot use the payload (422). Compare its answer with the event's template.",
    "http_429": "The receiver asks for fewer requests (429). Longer waits in the retry policy may help.",
    "timeout": "The receiver did not answer in time. It should store the request and answer immediately. "
    "The webhook's timeout can be up to 30 s.",
    "connection_refused": "Nothing accepts connections at the receiver's address. Start it, or correct the URL.",
    "connection_failed": "The platform could not connect to the receiver. Check its network and firewall.",
    "connection_reset": "The receiver closed the connection without an answer. Its log may say why.",
    "dns_error": "The receiver's host name was not found. Correct the webhook's URL, or the name's DNS.",
    "tls_error": "The TLS connection failed. The attempt below says why. Often the receiver's certificate is wrong.",
    "protocol_error": "The receiver's answer is not valid HTTP. Check which program listens on its port.",
    "oauth_failed": "The OAuth server gave no token, so nothing was sent. Check client id, client secret and token URL "
    "in the webhook.",
    "webhook_inactive": "The webhook is disabled, so nothing was sent. Activate it.",
    "subscription_deleted": "The webhook is no longer subscribed to the event, so nothing was sent. Add the event to "
    "the webhook.",
    "subscription_inactive": "The subscription is disabled, so nothing was sent. Activate it.",
    "not_rendered": "The payload could not be made from this occurrence. Correct the event's template.",
}
"""What happened and what to correct, by outcome. Of a delivery that failed, "Then resend." follows."""
_NO_RESEND = {
    "http_410": "The receiver says that it is gone for good (410), so the platform deactivated the webhook. Activate "
    "it again only if the receiver was wrong.",
    "address_not_allowed": "The receiver's address is private or reserved, and nothing is sent there. Use a public "
    "address, or ask the operator to allow the network (WEBHOOKS_EGRESS_ALLOW).",
    "webhook_deleted": "The webhook was deleted before the delivery could be sent. It cannot be sent any more.",
    "unknown": "The platform stopped during the attempt, so the receiver may or may not have got the request. A resend "
    "is safe if the receiver ignores a webhook-id that it has seen before.",
}
_WAITS = {
    "receiver_in_trouble": "Held back, because the receiver does not answer other deliveries either. It is sent when "
    "the receiver answers again. This wait uses no attempt. Send now tries immediately.",
    "room": "Waits for its turn, because the webhook has as many requests in flight as it may have. This wait uses no "
    "attempt.",
    "lifting": "Waits, because the tenant is suspended. It is sent when the suspension is lifted. This wait uses no "
    "attempt.",
    "repair": "The platform had an internal error and tries again by itself. This uses no attempt.",
    "worker": "Ready to be sent, and waits for a worker. If this takes long, no worker runs, or all are busy.",
}


def advice(delivery: Mapping[str, Any]) -> Advice:
    """Return what to say of a delivery as the API shows it."""
    attempts = delivery["attempts"]
    last = attempts[-1] if attempts else None
    match delivery["status"]:
        case "delivered":
            return _delivered(attempts)
        case "canceled":
            return Advice("slow", "Given up by hand. No attempt follows by itself. It can be resent.")
        case "failed" | "expired":
            late = (
                " It no longer waits for a resend, but a resend is still possible."
                if delivery["status"] == "expired"
                else ""
            )
            return Advice("bad", _failed(last) + late)
    if delivery["waiting_for"] in _WAITS:
        return Advice("slow", _WAITS[delivery["waiting_for"]])
    if last is None:
        return Advice("busy", "On its way. The first attempt has not ended yet.")
    said = f"Attempt {len(attempts)} failed: {outcome(last['outcome'])}."
    if why := _WHY.get(last["outcome"]):
        said = f"{said} {why}"
    if delivery["next_attempt_at"]:
        return Advice("slow", f"{said} The next attempt follows by itself. Send now makes it immediately.")
    return Advice("busy", f"{said} The next attempt is on its way.")


def _delivered(attempts: list[Mapping[str, Any]]) -> Advice:
    if not attempts:
        return Advice("good", "Delivered.")
    last, number = attempts[-1], len(attempts)
    if number == 1:
        return Advice("good", f"Delivered at the first attempt, in {duration(last['duration_ms'])}.")
    before = attempts[-2]
    if last["trigger"] == "resend":
        who = str(last["requested_by"] or "").partition(" (")[0]
        by = f"by hand ({who})" if who else "by hand"
        if before["outcome"] == "delivered":
            return Advice("good", f"Delivered once more, {by}. It had been delivered before.")
        said = quoted(before["response_body"])
        failure = outcome(before["outcome"]) + (f", {said}" if said else "")
        return Advice("good", f"Delivered {by}. Attempt {number - 1} had failed: {failure}.")
    count = sum(attempt["outcome"] != "delivered" for attempt in attempts)
    failed = f"{count} failed attempt{'' if count == 1 else 's'}"
    return Advice(
        "good", f"Delivered by attempt {number}, after {failed}. The last failure: {outcome(before['outcome'])}."
    )


def _failed(last: Mapping[str, Any] | None) -> str:
    if last is None:
        return "It ended before the first attempt. It can be resent."
    name = str(last["outcome"])
    if name in _NO_RESEND:
        return _NO_RESEND[name]
    if name in _WHY:
        text = _WHY[name]
    elif name.startswith("http_3"):
        text = f"The receiver redirects ({short_outcome(name)}). Redirects are not followed. Correct the webhook's URL."
    elif name.startswith("http_5"):
        text = f"The receiver failed at every attempt (last: {outcome(name)}). Wait until it works again."
    else:
        text = f"The receiver did not accept the request ({outcome(name)}). Its answer may say why."
    if last.get("deactivated"):
        text += " The platform deactivated the webhook after this failure. Activate it."
    if said := quoted(last["response_body"]):
        text += f" The receiver said {said}."
    return f"{text} Then resend."


def quoted(answer: str | None) -> str:
    """Return the receiver's own words in quotation marks, if its answer has some that are short; otherwise ''."""
    text = (answer or "").strip()
    if text.startswith("{"):
        try:
            members = json.loads(text)
        except (ValueError, RecursionError):
            return ""
        words = (members.get(name) for name in _SAYING)
        text = next((word.strip() for word in words if isinstance(word, str) and word.strip()), "")
    if not text or len(text) > _MAX_QUOTED or text.startswith(("<", "[")) or not text.isprintable():
        return ""
    return f"“{text}”"
