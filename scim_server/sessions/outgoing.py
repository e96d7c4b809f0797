"""Which addresses outgoing messages may reach, where an operator narrows it.

An address is the operator's word and is called as written. Where a store has `private_networks`, its name is resolved
once, what it leads to must be public or lie in one of these networks, and just that address is connected to: a name
that resolves differently a moment later (DNS rebinding) leads nowhere else.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpx

Networks = Sequence[IPv4Network | IPv6Network]


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
    """Whether an IP address (an IPv4 one may be written as IPv6) is public or lies in one of the networks."""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return (address.is_global and not address.is_multicast) or any(address in network for network in networks)
