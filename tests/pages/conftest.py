"""A real Chromium that looks at the pages of a running platform."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.async_api import Browser, BrowserContext, async_playwright, expect
from playwright.async_api import Page as Tab

from webhooks.testing.platform_process import KEY, PlatformProcess

_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Programs, the best one first: Chromium without its own windows, which takes half of the CPU time of the others."""
CHROMIUM = next(filter(None, map(shutil.which, _BROWSERS)), None)
_AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
_PATIENCE_MS = 15_000
expect.set_options(timeout=_PATIENCE_MS)
_AXE_OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
_IGNORED = ("Failed to load resource",)
"""What Chromium says of each answer that is an error; a test that expects none asserts the status."""


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium (Debian: apt-get install chromium-headless-shell)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


async def sign_in(tab: Tab, port: int, key: str = KEY, path: str = "/sent") -> None:
    """Sign in with a key, and end on the page at `path`."""
    await tab.goto(f"http://127.0.0.1:{port}/sign-in?next={path}")
    await tab.get_by_label("API key").fill(key)
    await tab.get_by_role("button", name="Sign in").click()
    await tab.wait_for_url(f"**{path}")


async def sign_in_by_http(context: BrowserContext, port: int, key: str) -> None:
    """Give the context the cookie of a new session. With a page, that takes a second."""
    site, same = f"http://127.0.0.1:{port}", {"sec-fetch-site": "same-origin"}
    answer = await context.request.post(
        f"{site}/sign-in", form={"key": key}, headers=same, max_redirects=0, max_retries=2
    )
    assert answer.status == 303, await answer.text()


class Contexts:
    """Windows of the browser that tests use one after the other, because a new one takes a second. Each test has a new
    tab, and no cookies but its own."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._free: dict[tuple[int, str], list[BrowserContext]] = {}

    @contextlib.asynccontextmanager
    async def one(self, width: int, scheme: str) -> AsyncIterator[BrowserContext]:
        """Yield one that no other block has."""
        free = self._free.setdefault((width, scheme), [])
        context = free.pop() if free else await self._new(width, scheme)
        yield context
        for tab in context.pages:
            await tab.close()
        await context.clear_cookies()
        free.append(context)

    async def _new(self, width: int, scheme: str) -> BrowserContext:
        context = await self._browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        context.set_default_timeout(_PATIENCE_MS)
        return context


class Monitor:
    """The pages as one person sees them, who has signed in with a key."""

    def __init__(self, platform: PlatformProcess, context: BrowserContext, tab: Tab) -> None:
        self.platform = platform
        self.context = context
        self.tab = tab
        self.complaints: list[str] = []
        """What the browser says of scripts and of the Content-Security-Policy."""
        tab.on("console", lambda said: self._note(said.text) if said.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: self._note(str(error)))
        tab.on("dialog", lambda dialog: dialog.accept())

    def _note(self, text: str) -> None:
        if not text.startswith(_IGNORED):
            self.complaints.append(text)

    async def open(self, path: str) -> Tab:
        """Open a page. Raises AssertionError unless it is a 200."""
        answer = await self.tab.goto(f"http://127.0.0.1:{self.platform.port}{path}")
        assert answer is not None and answer.status == 200, f"{path}: {answer and answer.status}"
        return self.tab

    async def sign_in(self, key: str = KEY, path: str = "/sent") -> Tab:
        await sign_in(self.tab, self.platform.port, key, path)
        return self.tab

    async def axe(self) -> list[str]:
        """Return what axe finds wrong with the page for people who cannot see it, or use no mouse."""
        await self.tab.evaluate(_AXE.read_text())  # by the browser's debugger: the page itself may run no such script
        found = await self.tab.evaluate("options => axe.run(options)", _AXE_OPTIONS)
        return [
            f"{violation['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]

    async def is_wider_than_the_window(self) -> bool:
        return bool(await self.tab.evaluate("document.documentElement.scrollWidth > innerWidth"))


Open = Callable[..., Awaitable[Monitor]]


EVERY_LOOK = pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (400, "dark"),
        pytest.param(400, "light", marks=pytest.mark.thorough),
        pytest.param(1400, "dark", marks=pytest.mark.thorough),
        pytest.param(1400, "light", marks=pytest.mark.thorough),
    ],
)
"""Pixels and theme. On a small screen, a page has more that can be wrong."""


@pytest.fixture(scope="session")
def contexts(chromium: Browser) -> Contexts:
    return Contexts(chromium)


@pytest.fixture
async def open_monitor(platform: PlatformProcess, contexts: Contexts) -> AsyncIterator[Open]:
    """A function that opens the monitor in a browser of its own: `await open_monitor(width=400, scheme="dark")`. It is
    signed in with `key`, and shows no page yet."""
    opened: list[Monitor] = []
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(
            *, key: str = KEY, width: int = 1400, scheme: str = "light", signs_in: bool = True
        ) -> Monitor:
            context = await stack.enter_async_context(contexts.one(width, scheme))
            if signs_in:
                await sign_in_by_http(context, platform.port, key)
            opened.append(Monitor(platform, context, await context.new_page()))
            return opened[-1]

        yield open_one
    complaints = [complaint for monitor in opened for complaint in monitor.complaints]
    assert not complaints, complaints


@pytest.fixture
async def monitor(open_monitor: Open) -> Monitor:
    """The monitor as an administrator sees it, 1400 pixels wide, in the light theme."""
    return await open_monitor()
