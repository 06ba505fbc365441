"""The documents are true: their calls are made against the platform, and the answers must be those that they show.
What they name (settings, files, make targets, links) exists.

A page's fenced blocks are followed in order:

    ```sh           run by bash; variables carry over to the next block. `$api`, `$auth`, `$json` are the README's,
                    `$receiver` is a receiver's URL. curl fails on an HTTP error
    ```json answer  members that the last JSON answer of the `sh` block has, among others. A block that only reads is
                    run again until it has them
    ```http         start line and headers of the next request that the receiver gets, among others
    ```json         that request's body; without one of these two, there is no request
    ```text         its body, a form: decoded, one pair on a line
    ```json WHAT    a document that the API accepts as WHAT: a `webhook`, its `authentication` or `retry_policy`, an
                    `event`, a `filter`

In what is shown, `…` stands for any text. Other blocks are not run.
"""

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid4

import pytest
import yaml

from api import first_calls
from webhooks.settings import Settings
from webhooks.testing.child_process import ROOT
from webhooks.testing.platform_process import KEY, Json, PlatformProcess, free_port, until
from webhooks.testing.receiver import Received, Receiver

DOCS = ROOT / "docs"
SAMPLES = DOCS / "samples"
README = ROOT / "README.md"
PRODUCTS = sorted(DOCS.glob("coming-from-*.md"))
PAGES = [*PRODUCTS, DOCS / "configuration.md", DOCS / "reliability.md", DOCS / "inbound.md", DOCS / "jobs.md"]
QUICK = {"coming-from-logiwa", "configuration"}
"""Pages that `make test` follows. `make test-thorough` follows the others."""
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
FENCE = re.compile(r"^```(?P<kind>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
NAMED_PATH = re.compile(r"`((?:api|activities|workflows|webhooks|tests|bench|demo|deploy|docs)/[\w./-]*)`")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
WRITES = re.compile(r"\s-(?:d|X|-data)\b")
CURLRC = "silent\nshow-error\nfail-with-body\nmax-time = 60\n"


@dataclass(frozen=True)
class Fence:
    """A fenced block. `place` is its file and line, for error messages."""

    kind: str
    text: str
    place: str


def fences(page: Path) -> Iterator[Fence]:
    text = page.read_text()
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Fence(match["kind"], match["text"], f"{page.relative_to(ROOT)}:{line}")


async def run(*command: str, cwd: Path, **environment: str) -> str:
    """Return what the command printed. Raises AssertionError unless it ends with exit code 0 within 60 s."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={"PATH": path, "LANG": "C.UTF-8", **environment},  # no proxies, no settings of the developer
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode == 0, f"exit code {process.returncode}\n{output.decode()}\n{errors.decode()}"
    return output.decode()


class Page:
    """Follows one page's blocks, in order, against a platform and a receiver."""

    def __init__(self, platform: PlatformProcess, receiver: Receiver, path: str, folder: Path) -> None:
        self._platform = platform
        self._receiver = receiver
        self._path = path
        self._folder = folder
        self._variables = {
            "api": f"http://127.0.0.1:{platform.port}/v1",
            "auth": f"Authorization: Bearer {KEY}",
            "json": "Content-Type: application/json",
            "receiver": receiver.url(path),
            "CURL_HOME": str(folder),
        }
        self._call = ""
        self.answer = ""
        """What the last `sh` block printed."""
        self._seen = 0
        (folder / ".curlrc").write_text(CURLRC)

    async def follow(self, fence: Fence) -> None:
        match fence.kind:
            case "sh":
                self._call, self.answer = fence.text, await self._run(fence.text)
            case "json answer":
                await self._answered(json.loads(fence.text))
            case "http":
                self._headers(await self._next(), fence.text)
            case "json":
                same(json.loads((await self._next()).body), json.loads(fence.text))
                self._seen += 1
            case "text":
                pairs = parse_qsl((await self._next()).body.decode(), keep_blank_values=True, strict_parsing=True)
                same([f"{name}={value}" for name, value in pairs], fence.text.splitlines())
                self._seen += 1
            case kind if kind.startswith("json "):
                await accepted(self._platform, kind.removeprefix("json "), json.loads(fence.text))

    async def end(self) -> None:
        """Raise AssertionError if the receiver got a request that the page does not show."""
        assert len(self._receiver.got(self._path)) == self._seen

    async def _run(self, script: str) -> str:
        command = ("bash", "-a", "-e", "-u", "-o", "pipefail", "-c", f"{script}\nenv -0 >variables")
        output = await run(*command, cwd=self._folder, **self._variables)
        variables = (self._folder / "variables").read_text().rstrip("\0").split("\0")
        self._variables = dict(variable.split("=", 1) for variable in variables)
        return output

    async def _answered(self, shown: Any) -> None:
        async def check() -> bool:
            try:
                same(every_json(self.answer)[-1], shown, among_others=True)
            except AssertionError:
                if WRITES.search(self._call):
                    raise
                self.answer = await self._run(self._call)
                return False
            return True

        await until(check, timeout=30, what="the answer shown", shown=lambda: self.answer)

    async def _next(self) -> Received:
        return (await self._receiver.wait_for(self._path, self._seen + 1))[self._seen]

    def _headers(self, request: Received, shown: str) -> None:
        start, *lines = shown.splitlines()
        same(f"{request.method} {request.path} HTTP/1.1", start)
        wanted = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        same(request.headers, wanted, among_others=True)


async def accepted(platform: PlatformProcess, what: str, document: Json) -> None:
    """Raise AssertionError unless the API accepts the document as a `what`."""
    webhook = {"url": "https://receiver.invalid/", "active": False}
    name = f"Documented-{uuid4().hex}"
    match what:
        case "webhook":
            await platform.post("/v1/webhooks", {**webhook, **document}, expect=201)
        case "authentication" | "retry_policy":
            await platform.post("/v1/webhooks", {**webhook, what: document}, expect=201)
        case "event":
            await platform.post("/v1/events", {"key": name, **document}, expect=201)
        case "filter":
            await platform.post("/v1/filters/match", {"filter": document, "occurrence": {}}, expect=200)
        case _:
            raise AssertionError(f"there is no block `json {what}`")


def every_json(output: str) -> list[Any]:
    """Return the JSON documents that stand one after the other in `output`."""
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(output):
        document, end = decoder.raw_decode(output, at)
        found.append(document)
        at = end + len(output[end:]) - len(output[end:].lstrip())
    return found


def same(came: Any, shown: Any, *, among_others: bool = False, at: str = "") -> None:
    """Raise AssertionError unless `came` is as `shown`. `among_others`: objects may have members that are not shown."""
    if isinstance(shown, dict) and isinstance(came, dict):
        missing, unexpected = shown.keys() - came.keys(), came.keys() - shown.keys()
        assert not missing, f"{at}: without {missing}"
        assert among_others or not unexpected, f"{at}: with {unexpected}"
        for name, value in shown.items():
            same(came[name], value, among_others=among_others, at=f"{at}/{name}")
    elif isinstance(shown, list) and isinstance(came, list):
        assert len(came) == len(shown), f"{at}: {came} is not {shown}"
        for index, value in enumerate(shown):
            same(came[index], value, among_others=among_others, at=f"{at}/{index}")
    elif isinstance(shown, str) and isinstance(came, str):
        pattern = ".+".join(map(re.escape, shown.split("…")))
        assert re.fullmatch(pattern, came, re.DOTALL), f"{at}: {came!r} is not {shown!r}"
    else:
        assert type(came) is type(shown) and came == shown, f"{at}: {came!r} is not {shown!r}"


@pytest.fixture
async def catalogue(platform: PlatformProcess, request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Deletes the events that the page names before it is followed, and afterwards what was made meanwhile: pages and
    other tests use the same names."""

    async def stored(path: str, name: str) -> set[str]:
        found: set[str] = set()
        cursor: str | None = ""
        while cursor is not None:
            query: Json = {"cursor": cursor} if cursor else {}
            page = await platform.get(path, **query, limit=100)
            found |= {item[name] for item in page["items"]}
            cursor = page["next_cursor"]
        return found

    page = request.node.callspec.params.get("page")
    for key in await stored("/v1/events", "key") if page else ():
        if key in page.read_text():
            for webhook in (await platform.get("/v1/webhooks", event=key))["items"]:
                await platform.call("DELETE", f"/v1/webhooks/{webhook['id']}", expect=204)
            await platform.http.delete(f"/v1/events/{key}")  # an operational event stays
    for role in (await platform.get("/v1/roles"))["items"] if page else ():
        if not role["built_in"] and role["name"] in page.read_text():
            for id in await stored("/v1/api-keys", "id"):
                if (await platform.get(f"/v1/api-keys/{id}"))["role"] == role["name"]:
                    await platform.call("DELETE", f"/v1/api-keys/{id}", expect=204)
            await platform.call("DELETE", f"/v1/roles/{role['name']}", expect=204)
    events, webhooks = await stored("/v1/events", "key"), await stored("/v1/webhooks", "id")
    yield
    for id in await stored("/v1/webhooks", "id") - webhooks:
        await platform.call("DELETE", f"/v1/webhooks/{id}", expect=204)
    for key in await stored("/v1/events", "key") - events:
        await platform.call("DELETE", f"/v1/events/{key}", expect=204)


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=() if page.stem in QUICK else pytest.mark.thorough) for page in PAGES],
    ids=lambda page: page.stem,
)
async def test_a_page_is_true(
    platform: PlatformProcess, receiver: Receiver, path: str, tmp_path: Path, page: Path
) -> None:
    following = Page(platform, receiver, path, tmp_path)
    for fence in fences(page):
        try:
            await following.follow(fence)
        except Exception as error:
            error.add_note(f"at {fence.place}")
            raise
    await following.end()


def test_every_product_has_its_page() -> None:
    pages = {page.stem.removeprefix("coming-from-"): [fence.kind for fence in fences(page)] for page in PRODUCTS}

    assert pages.keys() == {"engageip", "logisense", "logiwa", "logto", "softledger"}
    for kinds in pages.values():
        assert {"sh", "http", "json", "json answer"} <= set(kinds)


@pytest.mark.parametrize(
    ("shown", "fits"),
    [
        ({"a": "…", "b": [1, {"c": None}]}, True),
        ({"a": "x…", "b": [1, {"c": None}]}, True),
        ({"a": "y…", "b": [1, {"c": None}]}, False),
        ({"a": "…", "b": [True, {"c": None}]}, False),
        ({"a": "…", "b": [1, {}]}, False),
        ({"a": "…", "b": [1]}, False),
        ({"a": "…"}, False),
        ({"a": "…", "b": [1, {"c": None}], "d": None}, False),
        ({"a": "xyz…", "b": [1, {"c": None}]}, False),
    ],
)
def test_what_is_shown_is_compared_strictly(shown: Json, fits: bool) -> None:
    came = {"a": "xyz", "b": [1, {"c": None}]}
    if fits:
        same(came, shown)
    else:
        with pytest.raises(AssertionError):
            same(came, shown)


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    "sample",
    [
        "create_webhook.sh",
        pytest.param("create_webhook.mjs", marks=pytest.mark.thorough),
        pytest.param("create_webhook.py", marks=pytest.mark.thorough),
    ],
)
async def test_a_sample_creates_logiwa_s_webhook(
    platform: PlatformProcess, receiver: Receiver, path: str, sample: str
) -> None:
    interpreter = {"sh": shutil.which("sh"), "mjs": shutil.which("node"), "py": sys.executable}[sample.split(".")[1]]
    if interpreter is None:
        pytest.skip("node is not installed")
    await platform.call("PUT", "/v1/events/ShipmentOrderCreated", {})
    environment = {
        "WEBHOOKS_URL": f"http://127.0.0.1:{platform.port}",
        "WEBHOOKS_KEY": KEY,
        "WEBHOOK_TARGET": receiver.url(path),
    }
    created = json.loads(await run(interpreter, str(SAMPLES / sample), cwd=SAMPLES, **environment))
    await platform.publish("ShipmentOrderCreated", client_identifier="b2c3d4e5-f6a7-8901-bcde-f12345678901")
    [request] = await receiver.wait_for(path, 1)
    with pytest.raises(AssertionError, match="a valid API key is required"):
        await run(interpreter, str(SAMPLES / sample), cwd=SAMPLES, **{**environment, "WEBHOOKS_KEY": "another"})

    same(
        created,
        {
            "name": "Shipment Order Webhook",
            "url": receiver.url(path),
            "event": "ShipmentOrderCreated",
            "description": "Webhook for processing new shipment order notifications",
            "headers": {"Authorization": "********", "X-Custom-Header": "logiwa-webhook"},
            "active": True,
        },
        among_others=True,
    )
    assert request.headers["authorization"] == "Bearer webhook-token"
    assert request.headers["x-custom-header"] == "logiwa-webhook"


async def test_the_five_calls_of_the_readme(platform: PlatformProcess, receiver: Receiver, tmp_path: Path) -> None:
    """Followed as a reader does it: its calls in order, then its receiver, then its resend by hand."""
    blocks = list(fences(README))
    [listening] = [block.text for block in blocks if "receiver.py" in block.text]
    following, port = Page(platform, receiver, "/unused", tmp_path), free_port()
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data/bootstrap.key").write_text(f"{KEY}\n")
    places = {"localhost:8000": f"127.0.0.1:{platform.port}", "127.0.0.1:9000": f"127.0.0.1:{port}"}

    def placed(text: str) -> str:
        for shown, real in places.items():
            text = text.replace(shown, real)
        return text

    create, *before, resend = [block for block in blocks if block.kind in ("sh", "json answer")]
    await following.follow(replace(create, text=placed(create.text)))
    _event, webhook, _occurrence = every_json(following.answer)
    for block in before:
        await following.follow(replace(block, text=placed(block.text)))
    delivery = f"order-4711~{webhook['id']}"
    assert (await platform.get(f"/v1/deliveries/{delivery}"))["attempts"][0]["outcome"] == "connection_refused"

    command = listening.partition(" & ")[0].replace("PORT=9000", f"PORT={port}")
    command = command.replace(".venv/bin/python", sys.executable)
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"exec env {command}"),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "webhook": json.dumps(webhook, separators=(",", ":"))},
            stderr=log,
        )
    try:
        await until(lambda: accepts(port), timeout=30, what="the example receiver")
        await following.follow(resend)
        delivered = await platform.wait(delivery, "delivered")
    finally:
        process.terminate()
        await process.wait()

    assert [attempt["trigger"] for attempt in delivered["attempts"]][-1] == "resend"
    assert '"order":{"id":4711}' in (tmp_path / "log").read_text()


def test_the_terminal_shows_the_readme_s_calls() -> None:
    blocks = [fence.text for fence in fences(README) if fence.kind == "sh" or "receiver.py" in fence.text]

    assert "\n".join(blocks) == first_calls.CALLS


async def accepts(port: int) -> bool:
    """Return whether something listens on the port of this machine."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_the_receiver_verifies_and_drops_duplicates(platform: PlatformProcess, tmp_path: Path) -> None:
    port, event = free_port(), await platform.event()
    webhook = await platform.webhook(event, f"http://127.0.0.1:{port}/")
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(SAMPLES / "receiver.py")),
            env={"WEBHOOK_SECRET": webhook["signing_secret"], "PORT": str(port)},
            stderr=log,
        )
    try:
        id = await platform.delivery(await platform.publish(event, {"text": "canary-1290"}))
        first = await platform.wait(id, "delivered")
        await platform.post(f"/v1/deliveries/{id}/resend", {"force": True})
        again = await platform.wait(id, lambda delivery: len(delivery["attempts"]) > len(first["attempts"]))
        await platform.post(f"/v1/webhooks/{webhook['id']}/rotate-secret", {"overlap": 0})
        forged = await platform.delivery(await platform.publish(event))
        refused = await platform.wait(forged, lambda delivery: bool(delivery["attempts"]))
    finally:
        process.terminate()
        await process.wait()

    messages = [json.loads(made["attempts"][-1]["response_body"])["message"] for made in (first, again)]
    assert [made["attempts"][-1]["status_code"] for made in (first, again, refused)] == [202, 202, 401]
    assert messages == ["Webhook received for asynchronous processing", "Webhook received before"]
    assert (tmp_path / "log").read_text().count("canary-1290") == 1


async def test_the_receiver_to_look_at_prints_what_it_gets(platform: PlatformProcess, tmp_path: Path) -> None:
    event, port = await platform.event(), free_port()
    await platform.webhook(event, f"http://127.0.0.1:{port}/")
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(SAMPLES / "show_requests.py")), env={"PORT": str(port)}, stdout=log
        )
    try:
        await platform.wait(
            await platform.delivery(await platform.publish(event, {"text": "canary-1291"})), "delivered"
        )
    finally:
        process.terminate()
        await process.wait()
    printed = (tmp_path / "log").read_text()

    assert printed.startswith("POST / HTTP/1.1\n")
    assert "webhook-signature: v1," in printed
    assert '"data":{"text":"canary-1291"}' in printed.replace(": ", ":")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for match in LINK.finditer(document.read_text()):
        file, _, anchor = match["target"].partition("#")
        if "://" in file:
            continue
        target = document.parent / file if file else document

        assert target.exists(), f"{document.name}: {match['target']}"
        assert not anchor or anchor in anchors(target), f"{document.name}: {match['target']}"


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    headings = HEADING.findall(FENCE.sub("", document.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_begins_with_two_commands_and_is_short() -> None:
    text = README.read_text()
    first = next(iter(fences(README)))

    assert [line.split("#")[0].strip() for line in first.text.splitlines()] == ["make demo", "make test"]
    assert "#" not in text.partition("```")[0].removeprefix("# ")
    assert len(text.split()) < 1_200


def test_every_setting_is_documented() -> None:
    named = set(re.findall(r"`((?:WEBHOOKS|TEMPORAL)_[A-Z_]+)`", (DOCS / "settings.md").read_text()))
    settings = {
        str(field.validation_alias) if str(field.validation_alias).isupper() else f"WEBHOOKS_{name.upper()}"
        for name, field in Settings.model_fields.items()
    }

    assert settings <= named


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_files_and_commands_that_are_named_exist(document: Path) -> None:
    text = document.read_text()
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))

    assert [path for path in NAMED_PATH.findall(text) if not (ROOT / path).exists()] == []
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets


def test_every_decision_is_listed() -> None:
    pages = {page.name for page in (DOCS / "decisions").glob("*.md")} - {"README.md"}

    assert {match["target"] for match in LINK.finditer((DOCS / "decisions/README.md").read_text())} == pages


def test_a_commit_is_checked_as_make_check_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    [repo] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]

    assert recipe
    commands = [line.strip().removeprefix("@").replace("$(PY)", ".venv/bin/python") for line in recipe[1].splitlines()]
    assert [hook["entry"] for hook in repo["hooks"]] == commands
