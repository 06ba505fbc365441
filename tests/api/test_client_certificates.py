"""A webhook's client certificate in the API: stored, shown without its secrets, sent back, replaced, removed."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme

from api.protocol.problems import ProblemError
from api.routes.webhooks.resource import client_certificate
from api.schemas.webhooks import WebhookBody
from tests.support.tls_receiver import pem_of
from webhooks.credentials.client_certificate import ClientCertificate
from webhooks.testing.platform_process import Json, PlatformProcess

URL = "https://api.example.com/webhooks/shipments"
MASK = "********"
AUTHORITY = trustme.CA()


def pair(name: str = "client.test", not_after: datetime | None = None) -> dict[str, str]:
    chain, key = pem_of(AUTHORITY.issue_cert(name, organization_unit_name=name, not_after=not_after))
    return {"certificate": chain, "private_key": key}


async def change(platform: PlatformProcess, webhook: Json, patch: Json, expect: int = 200) -> Json:
    return await platform.call("PATCH", f"/v1/webhooks/{webhook['id']}", patch, expect=expect)


async def created(platform: PlatformProcess, **fields: object) -> Json:
    return await platform.post("/v1/webhooks", {"url": URL, **fields}, expect=201)


def error_of(problem: Json) -> tuple[str, str]:
    [error] = problem["errors"]
    return error["pointer"], error["detail"]


async def test_it_is_shown_without_certificate_and_key(platform: PlatformProcess) -> None:
    given = pair(not_after=datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC))
    webhook = await created(platform, client_certificate=given)
    read = await platform.get(f"/v1/webhooks/{webhook['id']}")
    [listed] = [item for item in (await platform.get("/v1/webhooks"))["items"] if item["id"] == webhook["id"]]

    shown = webhook["client_certificate"]
    assert shown == read["client_certificate"] == listed["client_certificate"]
    assert (shown["certificate"], shown["private_key"], shown["expires_at"]) == (MASK, MASK, "2099-01-02T03:04:05Z")
    assert "OU=client.test" in shown["subject"]
    assert (await created(platform))["client_certificate"] is None


async def test_what_was_read_may_be_sent_back(platform: PlatformProcess) -> None:
    webhook = await created(platform, client_certificate=pair())
    read = await platform.get(f"/v1/webhooks/{webhook['id']}")

    assert (await change(platform, webhook, read))["client_certificate"] == read["client_certificate"]
    problem = await change(platform, webhook, {"client_certificate": {"subject": "CN=another"}}, expect=422)
    assert error_of(problem)[0] == "/client_certificate/subject"


async def test_it_is_replaced_renewed_and_removed(platform: PlatformProcess) -> None:
    webhook = await created(platform, client_certificate=pair("one.test"))
    two = pair("two.test")
    replaced = await change(platform, webhook, {"client_certificate": two})
    same = await change(platform, webhook, {"client_certificate": {**two, "private_key": MASK}})
    problem = await change(
        platform, webhook, {"client_certificate": {**pair("three.test"), "private_key": MASK}}, expect=422
    )
    removed = await change(platform, webhook, {"client_certificate": None})

    assert "OU=two.test" in replaced["client_certificate"]["subject"]
    assert same["client_certificate"] == replaced["client_certificate"]
    assert error_of(problem) == (
        "/client_certificate/private_key",
        "the private key does not belong to the certificate",
    )
    assert removed["client_certificate"] is None


async def test_rotating_the_signing_secret_keeps_it(platform: PlatformProcess) -> None:
    webhook = await created(platform, client_certificate=pair())
    await platform.post(f"/v1/webhooks/{webhook['id']}/rotate-secret")

    read = await platform.get(f"/v1/webhooks/{webhook['id']}")
    assert read["client_certificate"] == webhook["client_certificate"]


@pytest.mark.parametrize(
    ("wrong", "pointer", "detail"),
    [
        ({"private_key": MASK}, "/client_certificate/private_key", "the value is masked, and no value is stored"),
        ({"private_key": "nonsense"}, "/client_certificate/private_key", "must be a PEM private key"),
        ({"certificate": "nonsense"}, "/client_certificate/certificate", "must be one or more PEM certificates"),
        (pair("b.test") | {"private_key": pair()["private_key"]}, "/client_certificate/private_key", "does not belong"),
        (pair(not_after=datetime.now(UTC) - timedelta(days=1)), "/client_certificate/certificate", "expired on"),
    ],
    ids=["masked", "no key", "no certificate", "of another", "expired"],
)
async def test_a_wrong_one_is_refused_without_showing_the_key(
    platform: PlatformProcess, wrong: dict[str, str], pointer: str, detail: str
) -> None:
    given = pair() | wrong
    problem = await platform.post("/v1/webhooks", {"url": URL, "client_certificate": given}, expect=422)

    assert error_of(problem)[0] == pointer
    assert detail in error_of(problem)[1]
    assert not any(line in str(problem) for line in given["private_key"].splitlines()[1:-1])


def test_one_that_has_expired_since_stops_no_other_change() -> None:
    expired = ClientCertificate(**pair(not_after=datetime.now(UTC) - timedelta(days=1)))
    body = WebhookBody.model_validate(
        {"url": URL, "allowedClientIdentifiers": [], "client_certificate": expired.model_dump()}
    )

    assert client_certificate(body, expired) == expired
    with pytest.raises(ProblemError):
        client_certificate(body, None)


async def test_it_needs_both_parts_and_https(platform: PlatformProcess) -> None:
    alone = await platform.post(
        "/v1/webhooks", {"url": URL, "client_certificate": {"certificate": pair()["certificate"]}}, expect=422
    )
    plain = {"url": "http://127.0.0.1:9999/", "client_certificate": pair()}
    without_tls = await platform.post("/v1/webhooks", plain, expect=422)
    webhook = await created(platform, client_certificate=pair())
    changed = await change(platform, webhook, {"url": "http://127.0.0.1:9999/"}, expect=422)

    assert error_of(alone)[0] == "/client_certificate/private_key"
    assert error_of(without_tls) == error_of(changed)
    assert error_of(changed) == ("/client_certificate", "needs an https URL: without TLS, no certificate is shown")
