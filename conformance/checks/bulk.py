"""Bulk operations (RFC 7644 §3.7)."""

from typing import Any

from conformance.checks.patch import op
from conformance.client import ERROR, Answer, Json
from conformance.requirement import MUST, SHOULD, Chapter
from conformance.server import GROUP, PATCH, USER, Server, at, member_ids, require

REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
RESPONSE = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
MOST_TRIED = 5_000  # operations, to see whether maxOperations is kept

requirements = Chapter(needs=("bulk",))


def bulk(server: Server, *operations: Json, **options: Any) -> Answer:
    """The request, whatever comes of it."""
    return server.send("POST", "/Bulk", {"schemas": [REQUEST], "Operations": operations, **options})


def create(server: Server, bulk_id: str, **attributes: Any) -> Json:
    """An operation that makes a user."""
    data = {"schemas": [USER], "userName": server.name(), **attributes}
    return {"method": "POST", "path": "/Users", "bulkId": bulk_id, "data": data}


def done(answer: Answer, *statuses: str) -> list[Json]:
    """The operations of a BulkResponse that has these statuses, in this order."""
    body = answer.has_status(200).body
    answer.expect(RESPONSE in body.get("schemas", []), f'"schemas" has {RESPONSE}')
    operations: list[Json] = body["Operations"]
    shown = [str(one["status"]) for one in operations]
    answer.expect(shown == list(statuses), f"the operations have status {', '.join(statuses)}")
    return operations


@requirements("rfc7644-3.7", MUST)
def create_users(server: Server) -> None:
    """POST operations make resources; each is answered with 201, its bulkId and its location."""
    answer = bulk(server, create(server, "a"), create(server, "b"))
    for operation, bulk_id in zip(done(answer, "201", "201"), "ab", strict=True):
        answer.expect(operation.get("bulkId") == bulk_id, "bulkId is the request's")
        server.send("GET", operation["location"]).has_status(200)


@requirements("rfc7644-3.7.3", MUST)
def status_is_text(server: Server) -> None:
    """The status of an operation is a text, as in an Error."""
    answer = bulk(server, create(server, "a")).has_status(200)
    answer.expect(answer.body["Operations"][0].get("status") == "201", 'status is "201"')


@requirements("rfc7644-3.7", MUST, needs=("patch",))
def change_and_delete(server: Server) -> None:
    """PUT, PATCH and DELETE operations do what the single requests do."""
    user, gone = server.user(), server.user()
    answer = bulk(
        server,
        {"method": "PUT", "path": at(user), "data": {"schemas": [USER], "userName": user["userName"], "title": "Boss"}},
        {
            "method": "PATCH",
            "path": at(user),
            "data": {"schemas": [PATCH], "Operations": [op("add", "nickName", "Al")]},
        },
        {"method": "DELETE", "path": at(gone)},
    )
    done(answer, "200", *[str(one["status"]) for one in answer.body["Operations"][1:2]], "204")
    server.read(user).shows({"title": "Boss", "nickName": "Al"})
    server.get(at(gone)).is_error(404)


def _group(bulk_id: str, name: str, *members: str) -> Json:
    listed = [{"type": "User", "value": f"bulkId:{member}"} for member in members]
    data = {"schemas": [GROUP], "displayName": name, "members": listed}
    return {"method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": data}


@requirements("rfc7644-3.7.2", MUST, needs=("groups",))
def bulk_id_is_resolved(server: Server) -> None:
    """bulkId:… in the data is the id of what the operation with this bulkId made."""
    answer = bulk(server, create(server, "a"), _group("g", server.name(), "a"))
    user, group = done(answer, "201", "201")
    _has_member(server, group, user)


@requirements("rfc7644-3.7.2", SHOULD, needs=("groups",))
def bulk_id_of_a_later_operation(server: Server) -> None:
    """bulkId:… may name an operation that comes later."""
    answer = bulk(server, _group("g", server.name(), "a"), create(server, "a"))
    group, user = done(answer, "201", "201")
    _has_member(server, group, user)


@requirements("rfc7644-3.7.1", MUST, needs=("groups",))
def circular_references(server: Server) -> None:
    """Two groups that are members of each other can be made in one request, or are refused with 409."""
    first, second = (_group(one, server.name(), other) for one, other in ("gh", "hg"))
    for group in (first, second):
        group["data"]["members"][0]["type"] = "Group"
    answer = bulk(server, first, second).has_status(200, 409)
    if answer.status == 200:
        made = answer.body["Operations"]
        if all(str(one["status"]) == "201" for one in made):
            _has_member(server, made[0], made[1])
        else:
            answer.expect(any(str(one["status"]) == "409" for one in made), "an operation is refused with 409")


def _has_member(server: Server, group: Json, member: Json) -> None:
    shown = server.send("GET", group["location"]).has_status(200)
    wanted = member["location"].rsplit("/", 1)[-1]
    shown.expect(member_ids(shown) == {wanted}, "the group has the member that the same request made")


@requirements("rfc7644-3.7.3", MUST)
def failed_operation_has_its_error(server: Server) -> None:
    """A failed operation has its status and, in response, a SCIM error; the others are carried out."""
    taken = server.user()["userName"]
    answer = bulk(server, create(server, "a", userName=taken), create(server, "b"))
    failed, _ = done(answer, "409", "201")
    said = failed.get("response", {})
    answer.expect(ERROR in said.get("schemas", []), f"response has {ERROR}")
    answer.expect(said.get("scimType") == "uniqueness", "its scimType is uniqueness")


@requirements("rfc7644-3.7.3", MUST)
def fail_on_errors(server: Server) -> None:
    """After failOnErrors errors the rest is not carried out."""
    taken, late = server.user()["userName"], server.name()
    bad = create(server, "a", userName=taken)
    answer = bulk(server, bad, create(server, "b", userName=late), failOnErrors=1).has_status(200)
    shown = [str(one["status"]) for one in answer.body["Operations"]]
    answer.expect(shown[:1] == ["409"] and "201" not in shown, "only the first operation is carried out, and fails")
    server.user(late)


@requirements("rfc7644-3.7.4", MUST)
def max_operations(server: Server) -> None:
    """More than maxOperations operations are answered 413 before any is carried out."""
    most = int(server.config["bulk"]["maxOperations"])
    require(most <= MOST_TRIED, f"maxOperations is {most}: more than this kit sends")
    operation = {"method": "DELETE", "path": "/Users/no-such-user"}
    bulk(server, *[operation] * (most + 1)).is_error(413)


@requirements("rfc7644-3.7", MUST)
def post_needs_a_bulk_id(server: Server) -> None:
    """A POST operation without bulkId is refused."""
    operation = create(server, "a")
    del operation["bulkId"]
    answer = bulk(server, operation).has_status(200, 400)
    refused = answer.status == 400 or answer.body["Operations"][0]["status"] == "400"
    answer.expect(refused, "the request or the operation is refused with 400")
