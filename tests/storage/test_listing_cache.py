"""Statements of lists are kept for the next one of their shape, but for those that would fill the memory."""

import pytest
from storage.opened import Tenant

from scim_server.protocol import filter as filters
from scim_server.protocol.attributes import INTEROP
from scim_server.protocol.schemas import USER
from scim_server.storage import listing
from scim_server.storage.database import Database
from scim_server.storage.listing import Sort, count, search


@pytest.mark.parametrize(("comparisons", "kept"), [(3, 1), (200, 0)])
async def test_long_filters_are_not_kept(database: Database, tenant: Tenant, comparisons: int, kept: int) -> None:
    caches = (listing._page_statement, listing._count_statement)
    for cache in caches:
        cache.cache_clear()
    query = filters.parse(" or ".join(['nickName eq "a"'] * comparisons), USER, INTEROP)
    for _ in range(2):
        found = await search(database, tenant.id, USER, query, sort=Sort(), offset=0, limit=10, groups=False)
        assert found.total == await count(database, tenant.id, USER, query) == 0
    assert [cache.cache_info().currsize for cache in caches] == [kept, kept]
