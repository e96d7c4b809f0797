"""Where outgoing messages may go: what the operator allowed, looked at after the name is resolved."""

from ipaddress import ip_network

import httpx
import pytest
from services.processes import free_port

from scim_server.sessions.outgoing import Forbidden, may_be_reached, pinned

HOME = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "10.0.0.1",
        "172.16.3.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "::ffff:0:10.0.0.1",
        "2002:a00:1::1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "fec0::1",
    ],
)
def test_what_is_not_public_may_not_be_reached(address: str) -> None:
    assert not may_be_reached(address, [])
    assert not may_be_reached(address, [ip_network("10.9.0.0/16")])


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "93.184.215.14",
        "64:ff9b::93.184.215.14",
        "2606::1",
    ],
)
def test_what_is_public_or_allowed_may_be_reached(address: str) -> None:
    assert may_be_reached(address, HOME)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_a_name_is_judged_by_where_it_leads(host: str) -> None:
    url = httpx.URL(f"https://u:p@{host}:{free_port()}/x?a=1")
    with pytest.raises(Forbidden, match="private_networks"):
        await pinned(url, [])
    target = await pinned(url, HOME)
    assert target.url.host in ("127.0.0.1", "::1")
    assert (target.url.userinfo, target.url.port, target.url.raw_path) == (b"u:p", url.port, b"/x?a=1")
    assert target.headers == {"host": f"{host}:{url.port}"}
    assert target.extensions == {"sni_hostname": url.host}
