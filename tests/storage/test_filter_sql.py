"""Filters as SQL mean what protocol.match says, on both databases, and share their text whatever their values."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from storage.opened import Tenant
from storage.worlds import Resource, World, worlds

from scim_server.protocol.attributes import INTEROP
from scim_server.protocol.errors import InvalidFilter
from scim_server.protocol.filter import parse
from scim_server.protocol.match import matches
from scim_server.protocol.schemas import GROUP, USER
from scim_server.storage.change import MemberRow
from scim_server.storage.database import Database, Taken
from scim_server.storage.dialects import POSTGRES, SQLITE, Dialect
from scim_server.storage.filter_sql import arguments, condition
from scim_server.storage.keys import row_of, values_of
from scim_server.storage.listing import Sort, search
from scim_server.storage.statements import compile_for


@given(world=worlds())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_sql_finds_what_match_finds(database: Database, world: World) -> None:
    tenant = Tenant()
    stored = [each for each in world.resources if await _insert(database, tenant, each)]
    members = {
        each.id: [one for one in world.members[each.id] if one in stored] for each in stored if each.type is GROUP
    }
    for group_id, those in members.items():
        rows = tuple(MemberRow(each.id, each.type.name, "Shown") for each in those)
        await database.commit(tenant.change("none", "Group", group_id, members_in=rows))
    wholes = {each.id: _whole(each, stored, members) for each in stored}
    for rt, text in world.questions:
        query = parse(text, rt, INTEROP)
        expected = [each.id for each in stored if each.type is rt and matches(query, wholes[each.id])]
        found = await search(database, tenant.id, rt, query, sort=Sort(), offset=0, limit=100, groups=False)
        assert [one.id for one in found.resources] == expected, f"{text}\n{world!r}"


async def _insert(database: Database, tenant: Tenant, new: Resource) -> bool:
    document = dict(new.document)
    row = row_of(document, new.type, active=document.get("active", True), unique_display_name=True)
    values = tuple(values_of(document, new.type))
    change = tenant.change("insert", new.type.name, new.id, row=row, values_in=values, at=new.modified)
    try:
        await database.commit(change)
    except Taken:
        return False
    return True


def _whole(one: Resource, world: list[Resource], members: dict[str, list[Resource]]) -> dict[str, Any]:
    if one.type is GROUP:
        listed = [{"value": each.id, "type": each.type.name, "display": "Shown"} for each in members[one.id]]
        return {**one.whole, "members": listed}
    groups = [each for each in world if each.type is GROUP and one in members[each.id]]
    listed = [{"value": each.id, "display": each.document["displayName"], "type": "direct"} for each in groups]
    return {**one.whole, "groups": listed} if one.type is USER else one.whole


@pytest.mark.parametrize("dialect", [POSTGRES, SQLITE], ids=lambda dialect: dialect.name)
def test_values_are_bound_and_never_part_of_the_sql(dialect: Dialect) -> None:
    def compiled(value: str) -> tuple[str, list[Any]]:
        query = parse(f'userName sw "{value}" or emails[type eq "{value}"] or title co "{value}"', USER, INTEROP)
        statement = compile_for(dialect, condition(query, USER, dialect))
        return statement.sql, statement.arguments(arguments(query, USER, dialect) | {"tenant_id": "", "type": ""})

    (one, first), (other, second) = compiled("x'; --"), compiled("zzz%")
    assert one == other
    assert "zzz" not in other
    assert any("zzz%" in str(argument) for argument in second)
    assert len(first) == len(second)


@pytest.mark.parametrize(
    "text", ['members.display eq "x"', 'members[display co "x"]', 'meta.location eq "x"', 'not (members.$ref eq "x")']
)
def test_what_is_computed_on_the_way_out_is_refused(text: str) -> None:
    with pytest.raises(InvalidFilter, match="cannot be searched"):
        condition(parse(text, GROUP, INTEROP), GROUP, POSTGRES)


def test_computed_attributes_are_present() -> None:
    for text in ("meta.location pr", "members.$ref pr"):
        assert str(compile_for(POSTGRES, condition(parse(text, GROUP, INTEROP), GROUP, POSTGRES)).sql)
