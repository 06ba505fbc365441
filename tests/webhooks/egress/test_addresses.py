from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from webhooks.egress.addresses import Verdict, judge
from webhooks.settings import parse_networks

DENIED = """
    0.0.0.0 0.255.255.255 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.0 100.64.0.1 100.100.100.200 100.127.255.255
    127.0.0.0 127.0.0.1 127.255.255.255 168.63.129.16 169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255
    172.16.0.0 172.16.0.1 172.31.255.255 192.0.0.0 192.0.0.8 192.0.0.192 192.0.0.255 192.0.2.1 192.31.196.1
    192.52.193.1 192.88.99.1 192.168.0.0 192.168.1.1 192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255
    198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::127.0.0.1 ::1.1.1.1 ::ffff:0:127.0.0.1 ::ffff:0:1.1.1.1 100::1 100:0:0:1::1 64:ff9b::7f00:1
    64:ff9b::a9fe:a9fe 64:ff9b::101:101 64:ff9b:1::a00:1 1fff:ffff::1 2001:: 2001:0:4136:e378:8000:63bf:3fff:fdd2
    2001:1ff:ffff::1 2001:db8::1 2001:db8:ffff::1 2002:: 2002:7f00:1:: 2002:a9fe:a9fe:: 2002:101:101::
    2620:4f:8000::1 3fff::1 3fff:fff:ffff::1 4000:: 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fe80::1%eth0
    fe80::1%25eth0 fec0::1 ff02::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2606:4700::1111%1 ::ffff:127.0.0.1
    ::ffff:7f00:1 0:0:0:0:0:ffff:a9fe:a9fe ::ffff:10.0.0.1 ::ffff:0.0.0.0 ::ffff:224.0.0.1
"""
PUBLIC = """
    1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0
    192.0.3.0 192.31.195.255 192.31.197.0 192.52.192.255 192.52.194.0 192.88.98.255 192.88.100.0 192.167.255.255
    192.169.0.0 192.175.47.255 192.175.49.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255
    203.0.114.0 223.255.255.255
    2000:: 2001:200:: 2001:db7:ffff::1 2001:db9:: 2001:4860:4860::8888 2003:: 2606:4700::1111 2620:4f:7fff::1
    2620:4f:8001:: 3ffe:: 3fff:1000:: ::ffff:1.1.1.1
"""
METADATA = """
    169.254.169.254 169.254.170.2 100.100.100.200 192.0.0.192 168.63.129.16
    fd00:ec2::254 fd20:ce::254
"""


@pytest.mark.parametrize("address", DENIED.split())
def test_a_special_address_is_denied(address: str) -> None:
    assert judge(ip_address(address), []) is Verdict.DENIED


@pytest.mark.parametrize("address", PUBLIC.split())
def test_any_other_address_is_public(address: str) -> None:
    assert judge(ip_address(address), []) is Verdict.PUBLIC


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("10.0.0.1", "10.0.0.0/8", Verdict.OPERATOR_ALLOWED),
        ("10.0.0.1", "192.168.0.0/16 10.0.0.0/8", Verdict.OPERATOR_ALLOWED),
        ("10.0.0.1", "10.0.0.1/32", Verdict.OPERATOR_ALLOWED),
        ("10.0.0.2", "10.0.0.1/32", Verdict.DENIED),
        ("11.0.0.1", "10.0.0.0/8", Verdict.PUBLIC),
        ("1.1.1.1", "1.1.1.0/24", Verdict.OPERATOR_ALLOWED),
        ("fd12::1", "fd12::/16", Verdict.OPERATOR_ALLOWED),
        ("fd13::1", "fd12::/16", Verdict.DENIED),
        ("::1", "127.0.0.0/8", Verdict.DENIED),
        ("::ffff:10.0.0.1", "10.0.0.0/8", Verdict.OPERATOR_ALLOWED),
        ("::ffff:10.0.0.1", "fd00::/8 ::/0", Verdict.DENIED),
        ("::10.0.0.1", "10.0.0.0/8", Verdict.DENIED),
        ("64:ff9b::a00:1", "10.0.0.0/8", Verdict.DENIED),
        ("10.0.0.1", "::/0", Verdict.DENIED),
    ],
)
def test_the_operator_s_networks_are_allowed_and_no_others(address: str, networks: str, expected: Verdict) -> None:
    assert expected is judge(ip_address(address), parse_networks(networks))


@pytest.mark.parametrize("text", METADATA.split())
def test_a_metadata_address_is_only_allowed_by_a_network_that_holds_nothing_else(text: str) -> None:
    address = ip_address(text)
    wider = [ip_network(f"{text}/{address.max_prefixlen - bits}", strict=False) for bits in (1, 8, 16)]
    wider += parse_networks("0.0.0.0/0 ::/0")
    exact = parse_networks(text)

    for same in [address] + ([ip_address(f"::ffff:{text}")] if isinstance(address, IPv4Address) else []):
        assert judge(same, wider) is Verdict.DENIED
        assert judge(same, exact) is Verdict.OPERATOR_ALLOWED
        assert judge(same, [*wider, *exact]) is Verdict.OPERATOR_ALLOWED


@pytest.mark.parametrize("text", ["fe80::1%eth0", "::1%1", "fd00:ec2::254%1", "2606:4700::1111%1"])
def test_a_scoped_address_is_denied_whatever_is_allowed(text: str) -> None:
    assert judge(ip_address(text), parse_networks("::/0")) is Verdict.DENIED
