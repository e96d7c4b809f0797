"""A tenant with people, groups, sessions in a CRM, an identity provider and an operator."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select
from storage.opened import rows
from termination.crm import Crm, RedisCrm
from termination.scene import Person, sessions_of, store_is_known, until
from web.serving import BASE, GROUP, USER, Server, Tenant, stamp

from scim_server.app import Parts
from scim_server.cli.terminal import operator
from scim_server.protocol import schemas
from scim_server.storage.change import FEED
from scim_server.storage.tables import audit, member, outbox, resource, subject
from scim_server.usecases import access
from scim_server.usecases.access import Caller
from scim_server.usecases.options import TenantOptions

__all__ = ["BASE", "FEED", "GROUP", "USER", "Firm", "House", "Person", "sessions_of", "until"]


@dataclass
class House:
    """A server, a deployment beside it as the command line opens one, and the CRM's sessions."""

    server: Server
    parts: Parts
    crm: Crm
    folder: Path
    _serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def firm(self, *options: str) -> "Firm":
        """A new tenant."""
        await store_is_known(self.parts.deployment.database, self.crm.entry["name"])
        tenant = await self.server.tenant(*options)
        crm: Crm = self.crm
        if isinstance(self.crm, RedisCrm):
            crm = RedisCrm(self.crm.entry["url"], name="standing", tenant=tenant.row.name)
        return Firm(self, tenant, crm)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """`scim-server …` as a person runs it while the server runs."""
        config = self.folder / "scim-server.toml"
        if not config.exists():
            lines = [f"{key} = {json.dumps(value)}" for key, value in self.crm.entry.items()]
            config.write_text("\n".join(["[[session_stores]]", *lines, ""]))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SCIM_")}
        return subprocess.run(
            [sys.executable, "-m", "scim_server", *words],
            env=kept | {"SCIM_CONFIG": str(config), "SCIM_DATABASE_URL": self.server.settings.database_url},
            capture_output=True,
            text=True,
            check=False,
        )


@dataclass
class Firm:
    """One tenant. `idp` is how its identity provider speaks, `crm` where its people have sessions."""

    house: House
    idp: Tenant
    crm: Crm
    _serial: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def parts(self) -> Parts:
        """A deployment as the command line opens one."""
        return self.house.parts

    async def set(self, *assignments: str) -> None:
        """Set options; known at once, by a new token."""
        self.idp.row = await access.set_options(
            self.idp.database, self.idp.row, list(assignments), (schemas.USER, schemas.GROUP), **stamp()
        )
        self.idp.token = await self.idp.issue()

    async def operator(self, **more: Any) -> Caller:
        """The person at the terminal."""
        return (await operator(self.parts, self.idp.row.name))._replace(**more)

    async def hire(self, **attributes: Any) -> Person:
        """A new user with three sessions."""
        number = next(self._serial)
        given = {"userName": f"person{number}@people.example", "externalId": f"{self.idp.row.name}-{number}"}
        given |= attributes
        user = await self.idp.user(given.pop("userName"), **given)
        self.crm.log_in(user["externalId"])
        return Person(user["id"], user["userName"], user["externalId"])

    async def hire_only(self, number: int) -> httpx.Response:
        """The POST of a user whom nobody needs any more."""
        body = {"schemas": [USER], "userName": f"temp{number}@people.example", "externalId": f"temp{number}"}
        return await self.idp.send("POST", "/Users", body)

    async def staff(self, number: int) -> list[Person]:
        """So many people."""
        return list(await asyncio.gather(*(self.hire() for _ in range(number))))

    async def group(self, name: str, *people: Person) -> str:
        """A new group; its id."""
        made: str = (await self.idp.group(*(person.id for person in people), name=name))["id"]
        return made

    async def active(self, person: Person, active: bool) -> httpx.Response:
        """The identity provider says whether somebody is active."""
        return await self.idp.patch(f"/Users/{person.id}", {"op": "replace", "path": "active", "value": active})

    async def join(self, group: str, *people: Person) -> httpx.Response:
        """PATCH add."""
        value = [{"value": person.id} for person in people]
        return await self.idp.patch(f"/Groups/{group}", {"op": "add", "path": "members", "value": value})

    async def leave(self, group: str, person: Person) -> httpx.Response:
        """PATCH remove."""
        return await self.idp.patch(f"/Groups/{group}", {"op": "remove", "path": f'members[value eq "{person.id}"]'})

    async def put(self, group: str, name: str, *people: Person) -> httpx.Response:
        """PUT with these members."""
        members = [{"value": person.id} for person in people]
        return await self.idp.send(
            "PUT", f"/Groups/{group}", {"schemas": [GROUP], "displayName": name, "members": members}
        )

    async def rename(self, group: str, name: str) -> httpx.Response:
        """PATCH displayName."""
        return await self.idp.patch(f"/Groups/{group}", {"op": "replace", "path": "displayName", "value": name})

    def is_denied(self, person: Person) -> bool:
        """What the gate in the CRM says; nobody has been refused without one."""
        gate = self.crm.gate(person.subject)
        return gate is not None and gate[1]

    def is_cut_off(self, person: Person) -> bool:
        """No session and no way in."""
        return self.is_denied(person) and self.crm.alive(person.subject) == 0

    async def is_active(self, person: Person) -> bool:
        """What the answer to a GET says."""
        shown: bool = (await self.idp.get(f"/Users/{person.id}")).json()["active"]
        return shown

    async def messages(self, person: Person | None = None) -> list[Any]:
        """Rows of the outbox for the CRM, in the order they were made."""
        query = select(outbox).where(outbox.c.tenant_id == self.idp.row.id, outbox.c.store != FEED)
        if person is not None:
            query = query.where(outbox.c.resource_id == person.id)
        return await rows(self.idp.database, query.order_by(outbox.c.position, outbox.c.id))

    async def audits(self, action: str) -> list[Any]:
        """Audit rows of an action, oldest first."""
        query = select(audit).where(audit.c.tenant_id == self.idp.row.id, audit.c.action == action)
        return await rows(self.idp.database, query.order_by(audit.c.id))

    async def delivered(self) -> None:
        """Returns once nothing is on its way any more."""

        async def nothing_waits() -> bool:
            return all(row["settled"] is not None or row["held"] for row in await self.messages())

        await until(nothing_waits, 10)

    async def is_coherent(self) -> None:
        """Whoever is in an access group is let in, nobody else is: in the rows, in the standings and in the CRM."""
        await self.delivered()
        mine = self.idp.row.id
        options = TenantOptions.read(self.idp.row.options)
        groups = await rows(
            self.idp.database,
            select(resource).where(resource.c.tenant_id == mine, resource.c.type == "Group"),
        )
        named = {name.casefold() for name in options.access_groups}
        giving = {row["id"] for row in groups if {row["id"], row["display_name_key"]} & named}
        members = await rows(self.idp.database, select(member).where(member.c.tenant_id == mine))
        inside = {row["member_id"] for row in members if row["group_id"] in giving}
        standings = {
            row["subject"]: bool(row["denied"])
            for row in await rows(self.idp.database, select(subject).where(subject.c.tenant_id == mine))
        }
        users = await rows(
            self.idp.database, select(resource).where(resource.c.tenant_id == mine, resource.c.type == "User")
        )
        for user in users:
            entitled = user["id"] in inside or not options.access_groups
            assert bool(user["entitled"]) == entitled, user["id"]
            welcome = entitled and bool(user["active"])
            key = user["external_id"]
            assert standings.get(key, False) == (not welcome), key
            gate = self.crm.gate(key)
            assert (gate is not None and gate[1]) == (not welcome), key
