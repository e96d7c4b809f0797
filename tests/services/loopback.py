"""Keeps the tests on this machine: an audit hook that refuses connections and look-ups beyond loopback.

It sees what Python opens, in this process; not libuv, not child processes.
"""

import ipaddress
import os
import socket
import sys
from urllib.parse import urlsplit

_ADDRESSED = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_LOOKED_UP = {"socket.getaddrinfo", "socket.gethostbyname"}


class BeyondLoopback(RuntimeError):
    """A test tried to reach another machine. Not an OSError, so that no error handling of ours swallows it."""


def stay_on_loopback() -> None:
    """Installs the hook for the rest of this process; hosts of the SCIM_TEST_*_URL stay reachable."""
    allowed = {"", "localhost", *_borrowed_hosts()}

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event in _ADDRESSED:
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else ""  # a text is a unix socket, None an open one
        elif event in _LOOKED_UP:
            host = arguments[0] or ""
        else:
            return
        if str(host) not in allowed and not _is_loopback(host):
            raise BeyondLoopback(f"tests stay on loopback: {event} {host!r}")

    sys.addaudithook(refuse)


def _is_loopback(host: object) -> bool:
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _borrowed_hosts() -> set[str]:
    names = [urlsplit(os.environ.get(f"SCIM_TEST_{service}_URL", "")).hostname for service in ("DATABASE", "REDIS")]
    hosts = {name for name in names if name}
    return hosts | {str(found[4][0]) for name in hosts for found in socket.getaddrinfo(name, None)}
