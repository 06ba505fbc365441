"""Which addresses a delivery may go to. Pure.

The lists are ours because `ipaddress.is_global` does not protect: it accepts NAT64, multicast and the IPv4-compatible
range, and its answers differ between Python versions. The sources are IANA's special-purpose address registries and the
cloud providers' metadata addresses. Allowed are all IPv4 addresses outside the list, and IPv6 addresses of 2000::/3
outside the list.
"""

from collections.abc import Sequence
from enum import Enum, auto
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_DENIED_V4 = [
    IPv4Network(cidr)
    for cidr in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
"""IANA's IPv4 special-purpose registry, multicast (224.0.0.0/4), and Azure's host (168.63.129.16)."""
_GLOBAL_V6 = IPv6Network("2000::/3")
_DENIED_V6 = [
    IPv6Network(cidr) for cidr in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]
"""IANA's IPv6 special-purpose registry, as far as it lies in 2000::/3."""
_METADATA = {
    ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
}
"""Metadata services of AWS, ECS, Alibaba, Oracle, Azure and Google: they hand out a machine's credentials."""


class Verdict(Enum):
    PUBLIC = auto()
    OPERATOR_ALLOWED = auto()
    """In one of the operator's networks: allowed, also without TLS."""
    DENIED = auto()


def judge(address: Address, allowed: Sequence[Network]) -> Verdict:
    """Return the verdict on an address. `allowed` are the operator's networks (`WEBHOOKS_EGRESS_ALLOW`). A metadata
    address is allowed only by a network of exactly that address (/32 or /128)."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:  # a scope names an interface of this machine
            return Verdict.DENIED
        address = address.ipv4_mapped or address
    for network in allowed:
        if address in network and (address not in _METADATA or network.num_addresses == 1):
            return Verdict.OPERATOR_ALLOWED
    if isinstance(address, IPv4Address):
        denied = any(address in network for network in _DENIED_V4)
    else:
        denied = address not in _GLOBAL_V6 or any(address in network for network in _DENIED_V6)
    return Verdict.DENIED if denied else Verdict.PUBLIC


def smallest_network(address: Address) -> Network:
    """Return the network that the operator would have to allow at least, so that requests may go to `address`."""
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return ip_network(address)
