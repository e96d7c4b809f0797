"""Names that people take for the same and machines do not: they differ only by case, width or accents.

A CRM that compares logins exactly turns such a pair into somebody who cannot sign in, or signs in as the other.
"""

import unicodedata
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson

from scim_server.protocol.attributes import AttributeRef
from scim_server.protocol.errors import InvalidPath
from scim_server.protocol.fold import fold
from scim_server.protocol.path import parse_names
from scim_server.storage import listing
from scim_server.storage.listing import Sort
from scim_server.usecases.access import Caller
from scim_server.usecases.deployment import Deployment

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Lookalike:
    """One of at least two users whose `value` looks the same; those of one group share `skeleton`."""

    skeleton: str
    value: str
    user_id: str


async def find(deployment: Deployment, caller: Caller, attribute: str) -> list[Lookalike]:
    """Look-alikes among a tenant's users in one attribute, such as userName or externalId. Raises InvalidPath."""
    groups: dict[str, list[Lookalike]] = defaultdict(list)
    async for user_id, value in _values(deployment, caller, attribute):
        skeleton = skeleton_of(value)
        groups[skeleton].append(Lookalike(skeleton, value, user_id))
    return [one for skeleton in sorted(groups) if len(groups[skeleton]) > 1 for one in groups[skeleton]]


def skeleton_of(text: str) -> str:
    """The text without case, width and accents."""
    decomposed = unicodedata.normalize("NFKD", fold(text))
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()


async def _values(deployment: Deployment, caller: Caller, attribute: str) -> AsyncIterator[tuple[str, str]]:
    rt = deployment.type_of(caller.options, "User")
    names = parse_names(attribute, rt)
    if len(names) != 1 or not isinstance(names[0], AttributeRef):
        raise InvalidPath(f"{attribute!r} is not an attribute of users.")
    after = None
    while True:
        page = await listing.walk(
            deployment.database, caller.tenant_id, rt, None, sort=Sort(), after=after, limit=PAGE, groups=False
        )
        for placed in page:
            for value in _texts(orjson.loads(placed.resource.doc), names[0]):
                yield placed.resource.id, value
        if len(page) < PAGE:
            return
        after = page[-1].position


def _texts(document: dict[str, Any], ref: AttributeRef) -> list[str]:
    holder = document.get(ref.extension, {}) if ref.extension else document
    found = holder.get(ref.attribute.name)
    elements = found if isinstance(found, list) else [found]
    name = ref.sub.name if ref.sub else "value"
    return [v for e in elements if isinstance(v := e.get(name) if isinstance(e, dict) else e, str)]
