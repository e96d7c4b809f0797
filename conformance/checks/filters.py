"""Filters (RFC 7644 §3.4.2.2): every operator on three users, and what is no filter.

A server may decline what it does not know, with invalidFilter; a wrong answer is a failure.
"""

import json
from functools import partial

from conformance.requirement import MUST, Chapter
from conformance.server import ENTERPRISE, USER, Server

requirements = Chapter(needs=("filter",))

OURS = 'userName sw "{tag}-f-"'

# name: (what it shows, filter, who is found). {tag} is the run's; {ada} is ada's id, {created} when she was made.
FOUND: dict[str, tuple[str, str, str]] = {
    "eq": ("eq is equality", 'userName eq "{tag}-f-ada"', "ada"),
    "ne": ("ne is inequality", 'userName ne "{tag}-f-ada" and ' + OURS, "bob cyd"),
    "co": ("co is containment", 'userName co "{tag}-f-bo"', "bob"),
    "sw": ("sw is a beginning", OURS, "ada bob cyd"),
    "ew": ("ew is an ending", 'userName ew "{tail}-f-cyd"', "cyd"),
    "pr": ("pr is presence", "title pr and " + OURS, "ada cyd"),
    "pr-complex": ("pr is presence of a complex attribute", "emails pr and " + OURS, "ada"),
    "gt": ("gt is greater", 'userName gt "{tag}-f-ada" and ' + OURS, "bob cyd"),
    "ge": ("ge is greater or equal", 'userName ge "{tag}-f-bob" and ' + OURS, "bob cyd"),
    "lt": ("lt is less", 'userName lt "{tag}-f-bob" and ' + OURS, "ada"),
    "le": ("le is less or equal", 'userName le "{tag}-f-bob" and ' + OURS, "ada bob"),
    "and": ("and needs both", OURS + " and active eq false", "bob"),
    "or": ("or needs one", 'userName eq "{tag}-f-ada" or userName eq "{tag}-f-cyd"', "ada cyd"),
    "not": ("not negates", OURS + " and not (title pr)", "bob"),
    "precedence": (
        "and binds closer than or",
        'userName eq "{tag}-f-ada" or userName eq "{tag}-f-bob" and active eq false',
        "ada bob",
    ),
    "grouping": (
        "parentheses group",
        '(userName eq "{tag}-f-ada" or userName eq "{tag}-f-bob") and active eq false',
        "bob",
    ),
    "boolean": ("a boolean is compared as one", "active eq true and " + OURS, "ada cyd"),
    "sub-attribute": ("a sub-attribute is addressed with a dot", 'name.familyName eq "Codd" and ' + OURS, "bob"),
    "multi-valued": ("one value of a list is enough", 'emails.value eq "ada-{tag}@home.example"', "ada"),
    "default-sub-attribute": ("value is meant where none is named", 'emails co "ada-{tag}@"', "ada"),
    "value-path": ("a value path filters values", 'emails[type eq "home" and value co "ada-{tag}"]', "ada"),
    "value-path-one-value": (
        "all terms of a value path are about the same value",
        'emails[type eq "home" and value co "ada-{tag}@work"]',
        "",
    ),
    "urn": ("an attribute has a full name", USER + ':userName eq "{tag}-f-ada"', "ada"),
    "attribute-case": ("attribute names are case-insensitive", 'USERNAME eq "{tag}-f-ada"', "ada"),
    "operator-case": ("operators are case-insensitive", 'userName EQ "{tag}-f-ada" OR userName Eq "nobody"', "ada"),
    "value-case": ("what is not caseExact is compared without case", 'userName eq "{TAG}-F-ADA"', "ada"),
    "case-exact": ("externalId is caseExact", 'externalId eq "{tag}-XA"', ""),
    "external-id": ("externalId is found", 'externalId eq "{tag}-Xa"', "ada"),
    "id": ("id is found", 'id eq "{ada}"', "ada"),
    "escapes": ("text is escaped as in JSON", "title eq {title} and " + OURS, "cyd"),
    "date-time": ("dateTime is compared in time", 'meta.created ge "{created}" and ' + OURS, "ada bob cyd"),
    "date-time-zone": ("dateTime has its zone", 'meta.created lt "2001-01-01T00:00:00+02:00" and ' + OURS, ""),
    "resource-type": ("meta.resourceType is compared", 'meta.resourceType eq "User" and ' + OURS, "ada bob cyd"),
    "no-match": ("what matches nobody is an empty list", 'userName eq "{tag}-nobody"', ""),
}


def _finds(text: str, who: str, server: Server) -> None:
    people = server.people
    written = text.format(
        tag=server.tag,
        TAG=server.tag.upper(),
        tail=server.tag[-4:],
        ada=people["ada"]["id"],
        created=people["ada"].get("meta", {}).get("created"),
        title=json.dumps(people["cyd"].get("title"), ensure_ascii=False),
    )
    answer = server.found(filter=written)
    names = {one["id"]: name for name, one in people.items()}
    found = sorted(names.get(identifier, identifier) for identifier in answer.ids)
    answer.expect(found == who.split(), f"found: {who or 'nobody'}")
    answer.expect(answer.body["totalResults"] == len(found), "totalResults counts them")


for _name, (_says, _text, _who) in FOUND.items():
    requirements.add(
        f"rfc7644-3.4.2.2-{_name}",
        MUST,
        f"Filters: {_says}.",
        partial(_finds, _text, _who),
        declinable=_name not in ("eq", "no-match"),
    )

REFUSED = {
    "no-operator": "userName",
    "no-value": "userName eq",
    "unknown-operator": 'userName like "x"',
    "open-parenthesis": '(userName eq "x"',
    "open-bracket": 'emails[type eq "work"',
    "dangling-and": 'userName eq "x" and',
    "open-quote": 'userName eq "x',
    "boolean-order": "active gt true",
}


def _refuses(text: str, server: Server) -> None:
    server.get("/Users", filter=text).is_error(400, "invalidFilter")


for _name, _text in REFUSED.items():
    _says = f"The filter {_text} is answered 400 invalidFilter."
    requirements.add(f"rfc7644-3.4.2.2-refuses-{_name}", MUST, _says, partial(_refuses, _text))


@requirements("rfc7644-3.4.2.2", MUST, needs=("enterprise",), declinable=True)
def extension(server: Server) -> None:
    """Filters: attributes of an extension are addressed by its URN."""
    _finds(ENTERPRISE + ':department eq "{tag}"', "ada", server)


@requirements("rfc7644-3.4.2.2", MUST, needs=("groups",))
def group_name(server: Server) -> None:
    """Filters: a group is found by displayName."""
    group = server.group()
    answer = server.found("/Groups", filter=f'displayName eq "{group["displayName"]}"')
    answer.expect(answer.ids == [group["id"]], "this group is found")


@requirements("rfc7644-3.4.2.2", MUST, needs=("groups",), declinable=True)
def group_member(server: Server) -> None:
    """Filters: groups are found by a member."""
    user = server.user()
    group = server.group(user)
    for term in ("members.value", "members"):
        answer = server.found("/Groups", filter=f'{term} eq "{user["id"]}"')
        answer.expect(answer.ids == [group["id"]], "this group is found")
