"""A name server on loopback that answers as it is told: A, AAAA and CNAME over UDP, which is enough for c-ares."""

import asyncio
import contextlib
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from typing import cast

from webhooks.egress.resolver import Resolver

_A, _CNAME, _AAAA = 1, 5, 28
_NXDOMAIN = 3


class NameServer(asyncio.DatagramProtocol):
    """A name that it was told nothing about does not exist."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: dict[str, int] = defaultdict(int)
        """Lookups of each name: its A queries, of which c-ares makes one each time."""
        self.silent: set[str] = set()
        """Names that get no answer."""
        self.late: dict[str, float] = {}
        """Seconds after which these names get their answer."""
        self._told: dict[str, list[list[str]]] = {}
        self._ttl: dict[str, int] = {}
        self._aliases: dict[str, str] = {}
        self._turn: dict[tuple[str, int], int] = defaultdict(int)
        self._arrived = asyncio.Event()
        self._transport: asyncio.DatagramTransport | None = None

    def tell(self, name: str, *answers: Sequence[str], ttl: int = 0) -> None:
        """The next lookups of `name` find these addresses in turn, and the last ones from then on."""
        self._told[name], self._ttl[name] = [list(addresses) for addresses in answers], ttl
        for type in (_A, _AAAA):
            self._turn[name, type] = 0

    def alias(self, name: str, other: str) -> None:
        self._aliases[name] = other

    async def wait_for(self, count: int) -> None:
        """Until so many names were asked for. Raises TimeoutError."""
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self._arrived.clear()
                await self._arrived.wait()

    def resolver(self) -> Resolver:
        """One that asks here and nowhere else."""
        return Resolver(nameservers=[f"127.0.0.1:{self.port}"])

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["NameServer"]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        self.port = transport.get_extra_info("sockname")[1]
        try:
            yield self
        finally:
            transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while length := data[at]:
            labels.append(data[at + 1 : at + 1 + length].decode())
            at += 1 + length
        name, question = ".".join(labels).lower(), data[12 : at + 5]
        [type] = struct.unpack("!H", data[at + 1 : at + 3])
        self.asked[name] += type == _A
        self._arrived.set()
        if name in self.silent or self._transport is None:
            return
        records, known = self._records(name, type)
        head = data[:2] + struct.pack("!5H", 0x8180 | (0 if known else _NXDOMAIN), 1, len(records), 0, 0)
        answer = head + question + b"".join(records)
        asyncio.get_running_loop().call_later(self.late.get(name, 0), self._transport.sendto, answer, addr)

    def _records(self, name: str, type: int) -> tuple[list[bytes], bool]:
        if name in self._aliases:
            other = self._aliases[name]
            records, known = self._records(other, type)
            return [_record(name, _CNAME, 0, _encoded(other)), *records], known
        if name not in self._told:
            return [], False
        turn, self._turn[name, type] = self._turn[name, type], self._turn[name, type] + 1
        told = self._told[name]
        packed = [ip_address(address).packed for address in told[min(turn, len(told) - 1)]]
        size = 4 if type == _A else 16
        return [_record(name, type, self._ttl[name], each) for each in packed if len(each) == size], True


def _record(name: str, type: int, ttl: int, content: bytes) -> bytes:
    return _encoded(name) + struct.pack("!HHIH", type, 1, ttl, len(content)) + content


def _encoded(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
