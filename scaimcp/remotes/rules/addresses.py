"""Which IP addresses are global unicast, and which none may ever connect to. Pure.

The tables are written out because `ipaddress.is_global` differs between Python releases.
Spec: remote-servers 5.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Judged before every allow-list, on the address itself and on any IPv4 address inside it.
NEVER: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::/32",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
    )
)
# IANA's special-purpose registry for IPv4, as far as it is not globally reachable unicast.
_SPECIAL_V4: tuple[IPv4Network, ...] = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# IPv6 is the other way round: only 2000::/3 is unicast for everyone, less what is carved out.
_UNICAST_V6 = IPv6Network("2000::/3")
_SPECIAL_V6: tuple[IPv6Network, ...] = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)
# Networks whose addresses carry an IPv4 address: (network, bits to the right of it, inverted).
_EMBEDDED: tuple[tuple[IPv6Network, int, bool], ...] = (
    (IPv6Network("::/96"), 0, False),  # IPv4-compatible
    (IPv6Network("::ffff:0:0/96"), 0, False),  # IPv4-mapped
    (IPv6Network("::ffff:0:0:0/96"), 0, False),  # IPv4-translated
    (IPv6Network("64:ff9b::/96"), 0, False),  # NAT64
    (IPv6Network("64:ff9b:1::/48"), 0, False),  # NAT64, local use
    (IPv6Network("2002::/16"), 80, False),  # 6to4
    (IPv6Network("2001::/32"), 64, False),  # Teredo: its server
    (IPv6Network("2001::/32"), 0, True),  # Teredo: its client
)


def embedded(address: Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address carries, whatever they are there for."""
    if isinstance(address, IPv4Address):
        return []
    found = []
    for network, shift, is_inverted in _EMBEDDED:
        if address in network:
            bits = int(address) >> shift & 0xFFFFFFFF
            found.append(IPv4Address(bits ^ 0xFFFFFFFF if is_inverted else bits))
    return found


def is_global_unicast(address: Address) -> bool:
    """Tell whether an address belongs to one host on the public Internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    if address.scope_id is not None or address not in _UNICAST_V6:
        return False
    return not any(address in network for network in _SPECIAL_V6)
