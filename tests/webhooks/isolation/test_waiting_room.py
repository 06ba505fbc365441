"""Who waits for room, who is next, and that no place is lost."""

import asyncio

import pytest

from webhooks.isolation import waiting_room
from webhooks.isolation.backlog import MAX_LOCAL, LocalBacklog
from webhooks.isolation.fair_queue import FairQueue, Waiting
from webhooks.isolation.waiting_room import CallerGoneError, TooManyWaitingError, WaitingRoom


async def never() -> None:
    await asyncio.Event().wait()


def full() -> LocalBacklog:
    backlog = LocalBacklog()
    for n in range(MAX_LOCAL):
        backlog.add(str(n))
    return backlog


async def enter(room: WaitingRoom, tenant: str = "a", caller: str = "k") -> None:
    async with room.place(tenant, caller, never):
        pass


async def until_waiting(room: WaitingRoom, count: int) -> None:
    while room.waiting() != count:  # noqa: ASYNC110  tasks that have begun go on meanwhile
        await asyncio.sleep(0)


async def test_tenants_take_turns_and_in_each_its_callers() -> None:
    queue = FairQueue()
    for name in ("a/1", "a/1", "a/1", "a/2", "b/1", "c/1", "c/2"):
        tenant, caller = name.split("/")
        queue.add(Waiting(tenant, caller))
    turns = [queue.next() for _ in range(7)]

    assert [f"{turn.tenant}/{turn.caller}" for turn in turns] == ["a/1", "b/1", "c/1", "a/2", "c/2", "a/1", "a/1"]
    assert (len(queue), queue._tenants) == (0, {})


async def test_room_lets_the_next_one_in() -> None:
    backlog = full()
    room = WaitingRoom(backlog, 60, 10)
    first, second = (asyncio.create_task(enter(room)) for _ in range(2))
    await until_waiting(room, 2)
    backlog.remove("0")
    await first
    await second  # the first has left, and started nothing

    assert room.waiting() == 0


async def test_the_wait_ends_after_its_time() -> None:
    room = WaitingRoom(full(), 0.01, 10)
    with pytest.raises(TooManyWaitingError):
        await enter(room)

    assert room.waiting() == 0


async def test_without_places_nobody_waits() -> None:
    backlog = full()
    room = WaitingRoom(backlog, 60, 0)
    with pytest.raises(TooManyWaitingError):
        await enter(room)
    assert room.full()
    backlog.remove("0")
    await enter(room)


async def test_no_place_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is cancelled at the moment at which its turn comes, or fails inside, or goes away, gives its place on."""
    monkeypatch.setattr(waiting_room, "_MAX_INSIDE", 1)
    room, inside, gone = WaitingRoom(LocalBacklog(), 60, 10), asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        try:
            async with room.place("a", "k", never):
                await inside.wait()
                raise ValueError
        finally:
            cancelled.cancel()  # its turn is given, and not yet taken

    async def leave() -> None:
        async with room.place("a", "k", gone.wait):  # type: ignore[arg-type]
            raise AssertionError("it has gone")

    failing = asyncio.create_task(fail())
    await asyncio.sleep(0)
    leaving, cancelled, last = (asyncio.create_task(one) for one in (leave(), enter(room), enter(room)))
    await until_waiting(room, 3)
    gone.set()
    with pytest.raises(CallerGoneError):
        await leaving
    inside.set()
    with pytest.raises(ValueError):
        await failing
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await last
    await enter(room)


async def test_a_closed_room_refuses_all_that_would_wait() -> None:
    backlog = full()
    room = WaitingRoom(backlog, 60, 10)
    waiting = asyncio.create_task(enter(room))
    await until_waiting(room, 1)
    room.close()
    for one in (waiting, enter(room)):
        with pytest.raises(TooManyWaitingError):
            await one
    backlog.remove("0")
    await enter(room)
