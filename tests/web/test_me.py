"""/Me: a token stands for a tenant (RFC 7644 §3.11)."""

import pytest
from web.serving import Tenant


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_me_is_nobody(tenant: Tenant, method: str) -> None:
    answer = await tenant.send(method, "/Me")
    assert answer.status_code == 501
    assert answer.json()["status"] == "501"
    assert "/Users/<id>" in answer.json()["detail"]
    assert (await tenant.send(method, "/Me", Authorization=None)).status_code == 401
