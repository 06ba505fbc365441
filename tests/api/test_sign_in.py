"""People sign in with a browser: by an API key or a real OpenID Connect provider on loopback. httpx is the browser."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from sqlmodel import select

from api.app import create_app
from api.platform import Platform
from tests.support.fresh_database import provide
from tests.support.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, rsa_key
from webhooks.identity import lookups
from webhooks.isolation.backlog import LocalBacklog
from webhooks.sending.resources import opened
from webhooks.settings import Settings
from webhooks.store import api_keys
from webhooks.store.models import AuditEntry, Session
from webhooks.testing.platform_process import KEY, PlatformProcess, until

HOME = "https://hooks.example"
SAME = {"sec-fetch-site": "same-origin"}
COOKIE = "__Host-webhooks_session"


@dataclass
class Site:
    """The API in this process, without Temporal, as a browser sees it by TLS."""

    platform: Platform
    browser: httpx.AsyncClient

    def another_browser(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self.browser._transport, base_url=HOME)

    async def sign_in(self, key: str = "a-key", **fields: str) -> httpx.Response:
        return await self.browser.post("/sign-in", data={"key": key, **fields}, headers=SAME)

    async def stored(self) -> list[Session]:
        async with self.platform.database.read() as session:
            return list((await session.exec(select(Session))).all())


@contextlib.asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[Site]:
    await provide(settings)
    async with opened(settings, migrate=True) as resources:
        platform = Platform(resources, LocalBacklog(), None)
        async with platform.database.write() as session:
            api_keys.add(session, tenant="default", name="shop", key="a-key", role="operator")
        transport = httpx.ASGITransport(create_app(platform), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=HOME) as browser:
            yield Site(platform, browser)
        await platform.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with served(Settings(data_dir=tmp_path, public_url=HOME)) as site:
        yield site


@pytest.fixture(scope="module")
async def shared_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One for tests that leave nothing behind but sessions. To make one takes half a second."""
    async with served(Settings(data_dir=tmp_path_factory.mktemp("site"), public_url=HOME)) as site:
        yield site


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with IdentityProvider().serving() as provider:
        provider.client.redirect_uris = [f"{HOME}/sign-in/callback"]
        yield provider


@pytest.fixture
async def known(tmp_path: Path, provider: IdentityProvider) -> AsyncIterator[Site]:
    """A site whose people sign in with the provider."""
    settings = Settings(
        data_dir=tmp_path,
        public_url=HOME,
        egress_allow=(ip_network("127.0.0.0/8"),),
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=SecretStr(CLIENT_SECRET),
    )
    async with served(settings) as site:
        yield site


async def at_provider(start: httpx.Response) -> str:
    """Follow the browser to the provider, and return where that sends it."""
    async with httpx.AsyncClient() as outside:
        answer = await outside.get(start.headers["location"])
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def test_a_person_signs_in_with_an_api_key_and_out(site: Site) -> None:
    form = await site.browser.get("/sign-in", params={"next": "/docs?a=1"})
    answer = await site.sign_in(next="/docs?a=1")
    [stored] = await site.stored()
    cookie = answer.headers["set-cookie"]
    events = await site.browser.get("/v1/events")
    out = await site.browser.post("/sign-out", headers=SAME)
    site.browser.cookies.set(COOKIE, re.findall(r"session=([^;]+)", cookie)[0], domain="hooks.example")
    after = await site.browser.get("/v1/events")

    assert form.status_code == 200
    assert 'value="/docs?a=1"' in form.text
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs?a=1")
    assert re.match(rf"{COOKIE}=[\w-]{{43}}; HttpOnly; Max-Age=28800; Path=/; SameSite=lax; Secure", cookie)
    assert stored.digest not in cookie
    assert timedelta(hours=7, minutes=59) < stored.expires_at - datetime.now(UTC) <= timedelta(hours=8)
    assert events.status_code == 200
    assert out.status_code == 200
    assert after.status_code == 401
    assert await site.stored() == []


async def test_its_pages_run_no_script_and_are_framed_by_nobody(site: Site) -> None:
    page = await site.browser.get("/sign-in", params={"next": '/"><script>alert(1)</script>'})

    [own, _] = page.headers.get_list("content-security-policy")
    assert own.startswith("default-src 'none'; ")
    assert own.endswith("form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
    assert "script-src" not in own
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["strict-transport-security"] == "max-age=31536000"
    assert "script" not in page.text
    assert 'value="/"' in page.text


@pytest.mark.parametrize(
    "place",
    [
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/\tevil",
        "/a\r\nSet-Cookie: a=b",
        "/%0d%0a" + "x" * 600,
        "/ä",
        " //evil.example",
        "",
    ],
)
async def test_a_sign_in_leads_nowhere_else(shared_site: Site, place: str) -> None:
    answer = await shared_site.sign_in(next=place)

    assert answer.status_code == 303
    assert answer.headers["location"] == "/"


async def test_a_wrong_key_does_not_sign_in(site: Site) -> None:
    async with site.platform.database.write() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        api_keys.add(session, tenant="default", name="old", key="old-key", role="viewer", expires_at=past)
    answers = [await site.sign_in(key) for key in ("wrong", "", "old-key", "x" * 10_000)]

    assert [answer.status_code for answer in answers] == [401] * 4
    assert all("This API key is not valid." in answer.text for answer in answers)
    assert all("set-cookie" not in answer.headers for answer in answers)
    assert await site.stored() == []


async def test_who_tries_many_keys_is_slowed(tmp_path: Path) -> None:
    async with served(Settings(data_dir=tmp_path, public_url=HOME, max_failed_authentications=3)) as site:
        answers = [await site.sign_in("wrong") for _ in range(5)]
        good = await site.sign_in()

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert good.status_code == 303


async def test_the_session_is_another_one_after_each_sign_in(site: Site) -> None:
    first = (await site.sign_in()).cookies[COOKIE]
    second = (await site.sign_in()).cookies[COOKIE]
    attacker = site.another_browser()
    attacker.cookies.set(COOKIE, first, domain="hooks.example")

    assert first != second
    assert (await attacker.get("/v1/events")).status_code == 401
    assert len(await site.stored()) == 1


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": HOME}, True),
        ({}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": HOME}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": f"{HOME}.evil.example"}, False),
        ({"origin": "http://hooks.example"}, False),
        ({"referer": f"{HOME}/"}, False),
    ],
)
async def test_another_site_s_page_can_change_nothing(
    shared_site: Site, headers: dict[str, str], allowed: bool
) -> None:
    browser = shared_site.browser
    await shared_site.sign_in()
    made = await browser.post("/v1/filters/match", json={"filter": None, "occurrence": {}}, headers=headers)
    read = await browser.get("/v1/events", headers=headers)
    out = await browser.post("/sign-out", headers=headers)
    signed_in = await shared_site.another_browser().post("/sign-in", data={"key": "a-key"}, headers=headers)

    assert (made.status_code != 403) is (out.status_code == 200) is (signed_in.status_code == 303) is allowed
    assert read.status_code == 200
    if not allowed:
        assert made.json()["detail"].startswith("a page of another site has sent this request")


async def test_refused_sign_ins_of_one_ipv6_network_are_one_entry_of_the_audit(site: Site) -> None:
    """Otherwise one machine, which has 2**64 addresses, could fill the table."""
    app = site.browser._transport.app  # type: ignore[attr-defined]
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"):
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url=HOME) as browser:
            assert (await browser.post("/sign-in", data={"key": "wrong"}, headers=SAME)).status_code == 401
    await site.platform.refusals.close()
    async with site.platform.database.read() as session:
        entries = (await session.exec(select(AuditEntry))).all()

    assert [entry.address for entry in entries] == ["2001:db8::1", "2001:db8:0:1::1"]


async def test_a_bearer_token_needs_no_same_origin_and_hides_the_cookie(site: Site) -> None:
    await site.sign_in()
    cross = {"sec-fetch-site": "cross-site"}
    by_key = await site.browser.post("/v1/tokens", json={}, headers={"authorization": "Bearer a-key", **cross})
    wrong = [
        await site.browser.get("/v1/events", headers={"authorization": value}) for value in ("Bearer x", "Basic eA==")
    ]

    assert by_key.status_code == 201
    assert [answer.status_code for answer in wrong] == [401, 401]


async def test_a_session_ends_with_its_key_and_after_eight_hours(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "SECONDS", 0)
    soon = datetime.now(UTC) + timedelta(hours=1)
    async with site.platform.database.write() as session:
        api_keys.add(session, tenant="default", name="short", key="short-key", role="viewer", expires_at=soon)
    await site.sign_in("short-key")
    [short] = await site.stored()
    await site.sign_in()
    async with site.platform.database.write() as session:
        [row] = (await session.exec(select(Session))).all()
        row.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    late = await site.browser.get("/v1/events")
    await site.sign_in()
    before = await site.browser.get("/v1/events")
    async with site.platform.database.write() as session:
        await api_keys.revoke_all(session, "default")
        site.platform.keys.forget_after(session)
    after = await site.browser.get("/v1/events")

    assert short.expires_at == soon
    assert late.status_code == 401
    assert before.status_code == 200
    assert after.status_code == 401


async def test_a_session_may_do_what_its_key_may(site: Site) -> None:
    await site.sign_in()
    refused = await site.browser.get("/v1/api-keys")
    token = await site.browser.post("/v1/tokens", json={"expires_in": 3600}, headers=SAME)

    assert refused.status_code == 403
    assert token.status_code == 201


async def test_without_tls_the_cookie_has_another_name(tmp_path: Path) -> None:
    async with served(Settings(data_dir=tmp_path)) as site:
        answer = await site.sign_in()
        origin = await site.another_browser().post("/sign-in", data={"key": "a-key"}, headers={"origin": HOME})
        other = await site.another_browser().post("/sign-in", data={"key": "a-key"}, headers={"origin": "https://e.x"})

    assert answer.headers["set-cookie"].startswith("webhooks_session=")
    assert "Secure" not in answer.headers["set-cookie"]
    assert [origin.status_code, other.status_code] == [303, 403]


async def test_a_person_signs_in_with_the_provider(known: Site, provider: IdentityProvider) -> None:
    start = await known.browser.get("/sign-in", params={"next": "/docs"})
    asked = parse_qs(urlsplit(start.headers["location"]).query)
    back = await at_provider(start)
    answer = await known.browser.get(back)
    events = await known.browser.get("/v1/events")
    refused = await known.browser.post("/v1/events", json={"key": "E"}, headers=SAME)
    again = await known.browser.get(back)
    [stored] = await known.stored()

    assert start.headers["location"].startswith(f"{provider.issuer}/authorize?")
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [f"{HOME}/sign-in/callback"]
    assert {"nonce", "state", "code_challenge"} <= asked.keys()
    assert "Secure" in start.headers["set-cookie"]
    assert "HttpOnly" in start.headers["set-cookie"]
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs"), answer.text
    assert events.status_code == 200
    assert refused.status_code == 403
    assert "event:add" in refused.json()["detail"]
    assert again.status_code == 401  # an answer is used once
    assert (stored.subject, stored.name, stored.grants) == ("person-1", "Ada", ["viewer"])


async def test_a_role_that_is_deleted_gives_a_person_nothing_more(known: Site, provider: IdentityProvider) -> None:
    async with known.platform.database.write() as session:
        api_keys.add(session, tenant="default", name="root", key="root-key", role="administrator")
    auth = {"authorization": "Bearer root-key"}
    role = {"name": "reader", "permissions": ["event:list"]}
    assert (await known.browser.post("/v1/roles", json=role, headers=auth)).status_code == 201
    provider.id_token_claims = {"permissions": ["reader"]}
    await known.browser.get(await at_provider(await known.browser.get("/sign-in")))
    before = await known.browser.get("/v1/events")
    await known.browser.delete("/v1/roles/reader", headers=auth)
    after = await known.browser.get("/v1/events")

    assert [before.status_code, after.status_code] == [200, 403]


async def test_the_provider_s_answer_belongs_to_the_browser_that_asked(known: Site) -> None:
    """Nobody can be signed in as somebody else by a link."""
    start = await known.browser.get("/sign-in")
    back = await at_provider(start)
    victim = known.another_browser()
    without = await victim.get(back)
    own = await victim.get("/sign-in")
    mixed = await victim.get(back)
    forged = await known.browser.get(re.sub(r"state=\w+", "state=forged", back))

    assert own.status_code == 302
    assert [answer.status_code for answer in (without, mixed, forged)] == [401] * 3
    assert await known.stored() == []


async def test_a_changed_or_old_flow_is_refused(known: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    back = await at_provider(await known.browser.get("/sign-in"))
    name = "__Host-webhooks_sign_in"
    good = known.browser.cookies[name]
    statuses = []
    for value in (good[:40] + "AAAA" + good[44:], good[4:], "", "e30="):
        browser = known.another_browser()
        browser.cookies.set(name, value, domain="hooks.example")
        statuses.append((await browser.get(back)).status_code)
    monkeypatch.setattr("api.sign_in.time.time", lambda: datetime.now(UTC).timestamp() + 601)
    statuses.append((await known.browser.get(back)).status_code)

    assert statuses == [401] * 5


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"nonce": "another"}, "did not confirm who you are"),
        ({"aud": "another-client"}, "did not confirm who you are"),
        ({"iss": "https://evil.example"}, "did not confirm who you are"),
        ({"exp": 1}, "did not confirm who you are"),
    ],
)
async def test_another_id_token_is_refused(
    known: Site, provider: IdentityProvider, claims: dict[str, Any], message: str
) -> None:
    provider.id_token_claims = claims
    answer = await known.browser.get(await at_provider(await known.browser.get("/sign-in")))

    assert answer.status_code == 401
    assert message in answer.text
    assert await known.stored() == []


async def test_a_key_that_was_replaced_meanwhile_is_found(known: Site, provider: IdentityProvider) -> None:
    back = await at_provider(await known.browser.get("/sign-in"))
    provider.keys = [rsa_key("second")]
    answer = await known.browser.get(back)

    assert answer.status_code == 303


async def test_when_the_provider_refuses_or_is_away_somebody_reads_it(known: Site, provider: IdentityProvider) -> None:
    back = await at_provider(await known.browser.get("/sign-in"))
    provider.tell("/token", 500)
    failed = await known.browser.get(back)
    state = parse_qs(urlsplit(back).query)["state"][0]
    await known.browser.get("/sign-in")
    denied = await known.browser.get("/sign-in/callback", params={"error": "access_denied", "state": state})

    assert [failed.status_code, denied.status_code] == [401, 401]
    assert "did not confirm who you are" in failed.text


async def test_an_unreachable_provider_does_not_hang(known: Site, provider: IdentityProvider) -> None:
    provider.tell("/.well-known/openid-configuration", 503)
    async with asyncio.timeout(10):
        answer = await known.browser.get("/sign-in")

    assert answer.status_code == 503
    assert "not reachable" in answer.text


async def test_with_a_provider_no_key_is_typed(known: Site) -> None:
    answer = await known.sign_in()

    assert answer.status_code == 401
    assert "Sign in with the identity provider." in answer.text


async def test_the_running_platform_signs_in(platform: PlatformProcess) -> None:
    async with httpx.AsyncClient(base_url=platform.http.base_url) as browser:
        wrong = await browser.post("/sign-in", data={"key": "wrong-canary", "next": "/docs"}, headers=SAME)
        answer = await browser.post("/sign-in", data={"key": KEY, "next": "/docs"}, headers=SAME)
        events = await browser.get("/v1/events")
        out = await browser.post("/sign-out", headers=SAME)
        after = await browser.get("/v1/events")
    secret = answer.cookies["webhooks_session"]

    assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
    assert [events.status_code, out.status_code, after.status_code] == [200, 200, 401]
    assert secret not in platform.log
    files = b"".join(file.read_bytes() for file in platform.data_dir.glob("webhooks.db*"))
    assert secret.encode() not in files
    assert wrong.status_code == 401

    async def recorded() -> bool:
        refused = (await platform.get("/v1/audit", action="access.refused", limit=100))["items"]
        return any(item["resource"] == "POST /sign-in" and item["address"] == "127.0.0.1" for item in refused)

    await until(recorded, timeout=10, what="the refused sign-in")
    [entry, *_] = (await platform.get("/v1/audit", action="session.add"))["items"]
    assert entry["actor"].startswith("key:")
    assert "wrong-canary" not in (await platform.http.get("/v1/audit", params={"limit": 100})).text
