"""Receivers that speak TLS, from OpenSSL's own blocking server: unlike asyncio's, it says goodbye with an alert."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import trustme

from tests.support.sockets import OK


@dataclass
class TlsReceiver:
    """Answers 200 to each request of a connection."""

    url: str
    shown: list[str] = field(default_factory=list)
    """For each request, the organizational unit of the client certificate; empty if there was none."""
    connections: list[int] = field(default_factory=list)
    """For each request, the number of its connection."""
    requests: list[bytes] = field(default_factory=list)


def server_context(certificate: trustme.LeafCert, clients: trustme.CA | None = None) -> ssl.SSLContext:
    """Return the context of a receiver. With `clients`, it requires a client certificate of this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    if clients:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextlib.contextmanager
def tls_receiver(context: ssl.SSLContext) -> Iterator[TlsReceiver]:
    """Serve on loopback while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        receiver = TlsReceiver(f"https://127.0.0.1:{server.getsockname()[1]}/")
        talks: list[threading.Thread] = []

        def accept() -> None:
            number = 0
            with contextlib.suppress(OSError):  # the block has ended
                while True:
                    connection, _ = server.accept()
                    number += 1
                    talks.append(threading.Thread(target=talk, args=(connection, number), daemon=True))
                    talks[-1].start()

        def talk(connection: socket.socket, number: int) -> None:
            with contextlib.suppress(OSError), connection:  # ssl.SSLError is an OSError
                connection.settimeout(30)
                with context.wrap_socket(connection, server_side=True) as stream:
                    while request := _read_request(stream):
                        receiver.shown.append(_unit(stream.getpeercert()))
                        receiver.connections.append(number)
                        receiver.requests.append(request)
                        stream.sendall(OK)

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield receiver
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _read_request(stream: ssl.SSLSocket) -> bytes:
    """Return the next request, or nothing if the connection has ended."""
    request = b""
    while b"\r\n\r\n" not in request:
        if not (data := stream.recv(65_536)):
            return b""
        request += data
    head, _, body = request.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0)
    while len(body) < length:
        body += stream.recv(65_536)
    return head + b"\r\n\r\n" + body


def _unit(certificate: object) -> str:
    names = certificate.get("subject", ()) if isinstance(certificate, dict) else ()
    return next((value for ((name, value),) in names if name == "organizationalUnitName"), "")


def pem_of(certificate: trustme.LeafCert) -> tuple[str, str]:
    """Return the PEM chain and the PEM key of a certificate."""
    chain = "".join(blob.bytes().decode() for blob in certificate.cert_chain_pems)
    return chain, certificate.private_key_pem.bytes().decode()
