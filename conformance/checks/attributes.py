"""What attributes are like (RFC 7643 §2, §3.1, §4.1): common attributes, mutability, unassigned and primary values."""

import re

from conformance.requirement import MUST, SHOULD, Chapter
from conformance.server import ENTERPRISE, USER, Server, at

DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
SECRET = "Correct-horse-battery-staple-7"

requirements = Chapter()


@requirements("rfc7643-3.1", MUST)
def meta(server: Server) -> None:
    """meta has resourceType, created and lastModified as dateTime, and location."""
    answer = server.read(server.user())
    found = answer.body.get("meta", {})
    answer.expect(found.get("resourceType") == "User", "meta.resourceType is User")
    for name in ("created", "lastModified"):
        answer.expect(bool(DATE_TIME.fullmatch(str(found.get(name)))), f"meta.{name} is a dateTime with its zone")
    answer.expect(str(found.get("location", "")).endswith(at(answer.body)), "meta.location is the address")


@requirements("rfc7643-3.1", MUST)
def last_modified_moves(server: Server) -> None:
    """A change moves meta.lastModified and leaves meta.created."""
    user = server.user()
    before = server.read(user).body["meta"]
    server.send("PUT", at(user), {"schemas": [USER], "userName": user["userName"], "title": "x"}).has_status(200)
    answer = server.read(user)
    after = answer.body["meta"]
    answer.expect(after["created"] == before["created"], "created is what it was")
    answer.expect(after["lastModified"] >= before["lastModified"], "lastModified is not earlier")


@requirements("rfc7643-3.1", MUST)
def the_server_chooses_the_id(server: Server) -> None:
    """id and meta in a POST are read-only, and ignored."""
    wanted = server.name()
    answer = server.post_user(id=wanted, meta={"created": "2001-01-01T00:00:00Z"}).has_status(201)
    answer.expect(answer.body["id"] != wanted, "the id is another one")
    answer.expect(not answer.body["meta"]["created"].startswith("2001"), "meta.created is the server's")


@requirements("rfc7643-3.1", MUST)
def external_id_as_sent(server: Server) -> None:
    """externalId is returned as it was sent."""
    given = {"externalId": f"{server.tag}-AbC/ÄÖ"}
    server.read(server.user(**given)).shows(given)


@requirements("rfc7643-4.1.2", MUST)
def groups_are_read_only(server: Server) -> None:
    """groups in a POST of a user is read-only, and ignored."""
    answer = server.post_user(groups=[{"value": "somewhere"}]).has_status(201)
    server.read(answer.body).shows({"groups": None})


@requirements("rfc7643-4.1.1", MUST)
def password_is_never_returned(server: Server) -> None:
    """password is never returned: not in answers to writes, nor in reads that ask for it."""
    user = server.post_user(password=SECRET).has_status(201)
    put = {"schemas": [USER], "userName": user.body["userName"], "password": SECRET}
    answers = [
        user,
        server.read(user.body),
        server.get(at(user.body), attributes="password"),
        server.send("PUT", at(user.body), put).has_status(200),
    ]
    for answer in answers:
        answer.expect(SECRET not in answer.exchange.answer_body, "the password is not there")
        answer.expect("password" not in answer.body, "no password is there in another form")


@requirements("rfc7643-2.1", MUST)
def names_without_case(server: Server) -> None:
    """Attribute names are case-insensitive."""
    name = server.name()
    body = {"schemas": [USER], "USERNAME": name, "displayname": "Ada", "name": {"GIVENNAME": "Ada"}}
    answer = server.send("POST", "/Users", body).has_status(201)
    answer.shows({"userName": name, "displayName": "Ada", "name": {"givenName": "Ada"}})


@requirements("rfc7643-2.5", MUST)
def null_is_unassigned(server: Server) -> None:
    """null and an empty list mean unassigned in a POST."""
    server.read(server.user(title=None, nickName=None, emails=[])).shows({"title": None, "emails": None})


@requirements("rfc7643-2.5", MUST)
def null_clears_in_put(server: Server) -> None:
    """null and an empty list clear an attribute in a PUT."""
    user = server.user(title="Boss", emails=[{"value": f"{server.tag}@work.example", "type": "work"}])
    body = {"schemas": [USER], "userName": user["userName"], "title": None, "emails": []}
    server.send("PUT", at(user), body).has_status(200)
    server.read(user).shows({"title": None, "emails": None})


@requirements("rfc7643-2.4", MUST)
def one_primary_value(server: Server) -> None:
    """Two primary values are refused, or at most one of them is primary afterwards."""
    emails = [{"value": f"{n}{server.tag}@work.example", "type": n, "primary": True} for n in ("work", "home")]
    answer = server.post_user(emails=emails).has_status(201, 400)
    if answer.status == 201:
        primary = [email for email in answer.body.get("emails", []) if email.get("primary")]
        answer.expect(len(primary) <= 1, "at most one value is primary")


@requirements("rfc7643-2.4", SHOULD)
def equal_values_once(server: Server) -> None:
    """The same type and value are not returned twice."""
    email = {"value": f"twice-{server.tag}@work.example", "type": "work"}
    answer = server.post_user(emails=[email, email]).has_status(201, 400)
    if answer.status == 201:
        answer.expect(len(answer.body["emails"]) == 1, "the value is there once")


@requirements("rfc7643-3.3", MUST, needs=("enterprise",))
def extension_is_a_container(server: Server) -> None:
    """Extension attributes are under the extension's URN, which "schemas" has."""
    given = {ENTERPRISE: {"department": "R&D", "employeeNumber": "7"}}
    answer = server.read(server.user(schemas=[USER, ENTERPRISE], **given)).shows(given)
    answer.expect(set(answer.body["schemas"]) >= {USER, ENTERPRISE}, '"schemas" has both URNs')


@requirements("rfc7643-4.3", MUST, needs=("enterprise",))
def manager_is_complex(server: Server) -> None:
    """The enterprise manager is complex, with the manager's id in value."""
    boss = server.user()
    given = {ENTERPRISE: {"manager": {"value": boss["id"]}}}
    server.read(server.user(schemas=[USER, ENTERPRISE], **given)).shows(given)
