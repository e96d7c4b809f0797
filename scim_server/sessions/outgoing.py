"""Which addresses outgoing messages may reach, where an operator narrows it.

An address is the operator's word and is called as written. Where a store has `private_networks`, its name is resolved
once, what it leads to must be public or lie in one of these networks, and just that address is connected to: a name
that resolves differently a moment later (DNS rebinding) leads nowhere else.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

import httpx

Networks = Sequence[IPv4Network | IPv6Network]

_NAT64: Final = IPv6Network("64:ff9b::/96")
# What `is_global` lets pass: IPv4 within IPv6 as it was once written, translators of the site's own, site-local.
_NOT_PUBLIC: Final = tuple(map(IPv6Network, ("::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "fec0::/10")))


class Forbidden(Exception):
    """The name leads to an address that is neither public nor allowed; the text says which."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and what says there who is meant: the Host header and the name in the TLS handshake."""

    url: httpx.URL
    headers: Mapping[str, str] = field(default_factory=dict)
    extensions: Mapping[str, Any] = field(default_factory=dict)


async def pinned(url: httpx.URL, networks: Networks) -> Target:
    """The first address of the url's host that may be reached. Raises Forbidden, and OSError when the name cannot be
    resolved."""
    port = url.port or (443 if url.scheme == "https" else 80)
    found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    addresses = [str(address[0]) for *_, address in found]
    allowed = [address for address in addresses if may_be_reached(address, networks)]
    if not allowed:
        raise Forbidden(f"{url.host} leads to {addresses[0]}, which is neither public nor in private_networks")
    host = url.netloc.decode("ascii")
    return Target(url.copy_with(host=allowed[0]), {"host": host}, {"sni_hostname": url.host})


def may_be_reached(text: str, networks: Networks) -> bool:
    """Whether an IP address is public or lies in one of the networks. One of IPv6 that stands for one of IPv4 is judged
    as that: mapped (RFC 4291 §2.5.5.2), 6to4 (RFC 3056), NAT64 (RFC 6052)."""
    address = _meant(ip_address(text))
    public = address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC)
    return public or any(address in network for network in networks)


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    translated = IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None
    return address.ipv4_mapped or address.sixtofour or translated or address
