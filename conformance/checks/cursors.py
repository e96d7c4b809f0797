"""Paging by cursor (RFC 9865)."""

from conformance.checks.lists import crowd
from conformance.requirement import MUST, SHOULD, Chapter
from conformance.server import SEARCH, Server

requirements = Chapter(needs=("cursor", "filter"))


@requirements("rfc9865-4", MUST)
def announced(server: Server) -> None:
    """ServiceProviderConfig says in pagination whether pages go by cursor and by index."""
    answer = server.get("/ServiceProviderConfig").has_status(200)
    said = answer.body["pagination"]
    for name in ("cursor", "index"):
        answer.expect(type(said.get(name)) is bool, f"pagination.{name} is true or false")
    method = said.get("defaultPaginationMethod")
    answer.expect(method in (None, "cursor", "index"), "defaultPaginationMethod is cursor or index")
    for name in ("defaultPageSize", "maxPageSize", "cursorTimeout"):
        answer.expect(type(said.get(name, 1)) is int, f"pagination.{name} is an integer, if it is there")


@requirements("rfc9865-2", MUST)
def pages_show_everybody(server: Server) -> None:
    """From an empty cursor, nextCursor leads through all pages; everybody is shown once, and the last has none."""
    page = crowd(server, cursor="", count=2)
    shown = page.ids
    while cursor := page.body.get("nextCursor"):
        page = crowd(server, cursor=cursor, count=2)
        page.expect(len(page.ids) <= 2, "a page has at most count resources")
        shown += page.ids
        page.expect(len(shown) <= 5, "nobody is shown twice")
    page.expect(sorted(shown) == sorted(server.crowd), "all pages together are everybody")


@requirements("rfc9865-2", MUST)
def first_page(server: Server) -> None:
    """The first page has count resources, totalResults, and a nextCursor that can stand in an address."""
    page = crowd(server, cursor="", count=2).shows({"totalResults": 5})
    page.expect(len(page.ids) == 2, "there are two Resources")
    cursor = page.body.get("nextCursor")
    page.expect(isinstance(cursor, str) and cursor != "", "nextCursor is a text")
    unreserved = all(letter.isascii() and (letter.isalnum() or letter in "-._~") for letter in str(cursor))
    page.expect(unreserved, "nextCursor has unreserved characters only")


@requirements("rfc9865-2", MUST)
def no_cursor_when_all_are_shown(server: Server) -> None:
    """A page that has everybody has no nextCursor."""
    page = crowd(server, cursor="", count=10)
    page.expect("nextCursor" not in page.body, "there is no nextCursor")


@requirements("rfc9865-2.1", SHOULD)
def unknown_cursor(server: Server) -> None:
    """A cursor that the server did not give is answered 400 invalidCursor."""
    server.get("/Users", cursor="not-a-cursor-of-this-server", count=2).is_error(400, "invalidCursor")


@requirements("rfc9865-2.1", SHOULD)
def changed_filter(server: Server) -> None:
    """A cursor with another filter is answered 400."""
    cursor = crowd(server, cursor="", count=2).body["nextCursor"]
    answer = server.get("/Users", filter="title pr", cursor=cursor, count=2)
    answer.is_error(400, "invalidCursor", "invalidFilter", "invalidValue")


@requirements("rfc9865-2", SHOULD)
def previous_cursor(server: Server) -> None:
    """previousCursor, where it is offered, leads back to the page before."""
    first = crowd(server, cursor="", count=2)
    second = crowd(server, cursor=first.body["nextCursor"], count=2)
    if previous := second.body.get("previousCursor"):
        back = crowd(server, cursor=previous, count=2)
        back.expect(back.ids == first.ids, "it is the first page")


@requirements("rfc9865-2", MUST, needs=("sort",))
def sorted_pages(server: Server) -> None:
    """Pages by cursor keep the order that sortBy asks for."""
    query = {"sortBy": "userName", "sortOrder": "descending", "count": 3}
    first = crowd(server, cursor="", **query)
    second = crowd(server, cursor=first.body["nextCursor"], **query)
    second.expect(first.ids + second.ids == server.crowd[::-1], "both pages together are in descending order")


@requirements("rfc9865-3", MUST, declinable=True)
def search(server: Server) -> None:
    """POST /Users/.search takes cursor in its body."""
    assert server.crowd
    body = {"schemas": [SEARCH], "filter": f'userName sw "{server.tag}-p-"', "cursor": "", "count": 3}
    first = server.send("POST", "/Users/.search", body).is_list()
    second = server.send("POST", "/Users/.search", body | {"cursor": first.body["nextCursor"]}).is_list()
    second.expect(sorted(first.ids + second.ids) == sorted(server.crowd), "both pages together are everybody")
