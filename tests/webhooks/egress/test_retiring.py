"""A resource in use is closed by its last user."""

from webhooks.egress.retiring import Retiring


async def test_it_is_closed_when_it_is_retired_and_its_last_user_has_left() -> None:
    closed: list[str] = []

    async def close() -> None:
        closed.append("closed")

    shared = Retiring("resource", close)
    async with shared as first:
        async with shared as second:
            assert first == second == "resource"
            await shared.retire()
        assert not closed, "one user is left"
    assert closed == ["closed"]


async def test_it_stays_open_until_it_is_retired() -> None:
    closed: list[str] = []

    async def close() -> None:
        closed.append("closed")

    shared = Retiring("resource", close)
    async with shared:
        pass
    assert not closed

    await shared.retire()
    assert closed == ["closed"]
