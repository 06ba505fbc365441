"""The first minute of somebody with nothing: one click shows a delivery and its retries."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.pages.conftest import Monitor
from webhooks.testing.platform_process import PlatformProcess, running


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[PlatformProcess]:
    async with running(tmp_path / "empty", WEBHOOKS_EGRESS_ALLOW="") as platform:
        yield platform


@pytest.mark.thorough
async def test_one_click_makes_the_first_delivery(empty: PlatformProcess, chromium: Browser) -> None:
    context = await chromium.new_context()
    monitor = Monitor(empty, context, await context.new_page())
    tab = await monitor.sign_in()
    await expect(tab.get_by_role("heading", name="Three steps")).to_be_visible()
    assert await monitor.axe() == []

    await tab.get_by_role("button", name="Do all three").click()

    await expect(tab).to_have_url(re.compile("/deliveries/"))
    [delivery] = (await empty.get("/v1/deliveries"))["items"]
    delivered = await empty.wait(delivery["id"], "delivered")
    assert [attempt["outcome"] for attempt in delivered["attempts"]] == ["http_503", "http_503", "delivered"]
    await monitor.open("/sent")
    await expect(tab.get_by_role("row").nth(1)).to_contain_text("OrderPlaced")
    assert monitor.complaints == []
    await context.close()
