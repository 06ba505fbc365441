"""The built-in test receiver: it answers as its path says, and nothing leaves the process."""

import json

import pytest

from webhooks.egress.client import Answer, Egress
from webhooks.egress.test_receiver import HOST


async def send(egress: Egress, path: str, *, id: str = "a", host: str = HOST) -> Answer:
    return await egress.send("default", "POST", f"https://{host}{path}", {"webhook-id": id}, b"{}", 5)


async def test_it_fails_twice_for_each_delivery() -> None:
    egress = Egress([])

    first = [(await send(egress, "/fail-twice")).outcome for _ in range(4)]
    other = await send(egress, "/fail-twice", id="b")
    await egress.close()

    assert first == ["http_503", "http_503", "delivered", "delivered"]
    assert other.error == "503 Service Unavailable"


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/", "delivered"),
        ("/anything?x=1", "delivered"),
        ("/status/400", "http_400"),
        ("/status/204", "delivered"),
        ("/status/599", "delivered"),
        ("/status/100", "delivered"),
    ],
)
async def test_the_path_chooses_the_status(path: str, outcome: str) -> None:
    egress = Egress([])

    answer = await send(egress, path)
    await egress.close()

    assert answer.outcome == outcome
    assert json.loads(answer.body)["bytes"] == 2
    assert answer.exchange
    assert (answer.exchange.timing(), answer.exchange.remote_address) == ({}, None)  # nothing went over a wire
    assert (b"webhook-id", b"a") in answer.exchange.request_headers
    assert answer.exchange.response_size == len(answer.body)


@pytest.mark.parametrize("host", [HOST.upper(), f"{HOST}.", f"{HOST}:8443"])
async def test_it_has_each_spelling_of_its_name(host: str) -> None:
    egress = Egress([])

    assert (await send(egress, "/", host=host)).outcome == "delivered"
    await egress.close()


@pytest.mark.parametrize("host", [f"x.{HOST}", f"{HOST}.example", f"evil-{HOST}"])
async def test_other_names_are_not_it(host: str) -> None:
    egress = Egress([])

    assert (await send(egress, "/", host=host)).outcome == "dns_error"
    await egress.close()


async def test_it_forgets_the_oldest_deliveries() -> None:
    egress = Egress([])
    for number in range(1_001):
        await send(egress, "/fail-twice", id=str(number))

    again = await send(egress, "/fail-twice", id="1000")
    await send(egress, "/fail-twice", id="0")
    oldest = await send(egress, "/fail-twice", id="0")
    await egress.close()

    assert again.outcome == oldest.outcome == "http_503"


async def test_a_webhook_may_be_created_for_it_everywhere() -> None:
    egress = Egress([])

    assert await egress.check_url("default", f"https://{HOST}/fail-twice") is None
    assert await egress.check_url("default", f"http://{HOST}/fail-twice") is not None
    await egress.close()
