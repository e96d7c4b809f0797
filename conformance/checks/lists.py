"""Lists: paging by index, sorting, .search and root queries (RFC 7644 §3.4.2, §3.4.3)."""

from functools import partial

from conformance.client import Answer
from conformance.requirement import MAY, MUST, SHOULD, Chapter
from conformance.server import SEARCH, Server

requirements = Chapter()


def crowd(server: Server, **query: object) -> Answer:
    """The five users, and nobody else."""
    assert server.crowd
    return server.found(filter=f'userName sw "{server.tag}-p-"', **query)


@requirements("rfc7644-3.4.2", MUST)
def list_response(server: Server) -> None:
    """GET /Users returns a ListResponse with totalResults and the Resources."""
    server.user()
    answer = server.found()
    answer.expect(bool(answer.resources), "there are Resources")
    answer.expect(answer.body["totalResults"] >= len(answer.resources), "totalResults is not less than what is shown")


@requirements("rfc7644-3.4.2.4", MUST, needs=("filter",))
def pages(server: Server) -> None:
    """Pages of two show everybody once, and say where they begin and how much they have."""
    shown: list[str] = []
    for start, size in ((1, 2), (3, 2), (5, 1)):
        page = crowd(server, startIndex=start, count=2).shows({"totalResults": 5, "startIndex": start})
        page.shows({"itemsPerPage": size}).expect(len(page.ids) == size, f"there are {size} Resources")
        shown += page.ids
    page.expect(sorted(shown) == sorted(server.crowd), "all pages together are everybody, once")


@requirements("rfc7644-3.4.2.4", MUST)
def never_more_than_count(server: Server) -> None:
    """A page has at most count resources, without a filter too."""
    assert server.crowd
    page = server.found(count=1)
    page.expect(len(page.resources) == 1, "there is one resource")
    page.expect(page.body["totalResults"] >= 5, "totalResults counts all that match")


@requirements("rfc7644-3.4.2.4", MUST)
def partial_results_say_so(server: Server) -> None:
    """When a page has not all, startIndex and itemsPerPage are there."""
    assert server.crowd
    page = server.found(count=2, startIndex=2)
    page.shows({"startIndex": 2, "itemsPerPage": len(page.resources)})


COUNTS = {"count-0": (0, "0"), "count-negative": (-1, "less than 0")}


def _only_total(count: int, server: Server) -> None:
    page = crowd(server, count=count).shows({"totalResults": 5})
    page.expect(page.resources == [], "there are no Resources")


for _name, (_count, _words) in COUNTS.items():
    _says = f"A count of {_words} returns totalResults and no Resources."
    requirements.add(f"rfc7644-3.4.2.4-{_name}", MUST, _says, partial(_only_total, _count), needs=("filter",))


@requirements("rfc7644-3.4.2.4", MUST, needs=("filter",))
def start_index_below_one(server: Server) -> None:
    """A startIndex less than 1 is taken as 1."""
    first = crowd(server, startIndex=1, count=2)
    for start in (0, -5):
        page = crowd(server, startIndex=start, count=2)
        page.expect(page.ids == first.ids, "it is the first page")


@requirements("rfc7644-3.4.2.4", MUST, needs=("filter",))
def start_index_beyond_the_end(server: Server) -> None:
    """A page beyond the end is 200 with no Resources."""
    page = crowd(server, startIndex=6, count=2).shows({"totalResults": 5})
    page.expect(page.resources == [], "there are no Resources")


# name: (says, query, the order as indexes of the crowd)
SORTED: dict[str, tuple[str, dict[str, str], str]] = {
    "ascending": ("sortBy sorts in ascending order by default", {"sortBy": "userName"}, "01234"),
    "descending": ("sortOrder descending", {"sortBy": "userName", "sortOrder": "descending"}, "43210"),
    "sub-attribute": (
        "what is not caseExact, without case; no value comes last",
        {"sortBy": "name.familyName"},
        "01234",
    ),
    "no-value-first": (
        "in descending order no value comes first",
        {"sortBy": "name.familyName", "sortOrder": "descending"},
        "43210",
    ),
}


def _sorted(query: dict[str, str], order: str, server: Server) -> None:
    page = crowd(server, **query)
    places = "".join(str(server.crowd.index(identifier)) for identifier in page.ids)
    page.expect(places == order, f"the order is {order}, by the number in the userName (p-9 is 4); it is {places}")


for _name, (_words, _query, _order) in SORTED.items():
    requirements.add(
        f"rfc7644-3.4.2.3-{_name}",
        MUST,
        f"Sorting: {_words}.",
        partial(_sorted, _query, _order),
        needs=("filter", "sort"),
    )


@requirements("rfc7644-3.4.2.3", MUST, needs=("filter", "sort"))
def sorted_pages(server: Server) -> None:
    """Pages of a sorted list go on where the one before ended."""
    for start in (1, 3, 5):
        page = crowd(server, sortBy="userName", sortOrder="descending", startIndex=start, count=2)
        page.expect(page.ids == server.crowd[::-1][start - 1 : start + 1], "the page continues the order")


@requirements("rfc7644-3.4.3", MUST, needs=("filter",), declinable=True)
def search(server: Server) -> None:
    """POST /Users/.search takes filter, count and startIndex in its body and returns a ListResponse."""
    body = {"schemas": [SEARCH], "filter": f'userName sw "{server.tag}-p-"', "startIndex": 2, "count": 2}
    assert server.crowd
    page = server.send("POST", "/Users/.search", body).is_list().shows({"totalResults": 5, "startIndex": 2})
    page.expect(len(page.resources) == 2, "there are two Resources")


@requirements("rfc7644-3.4.2.1", MAY, needs=("filter",), declinable=True)
def root_query(server: Server) -> None:
    """GET of the base URL finds resources of all types."""
    user = server.user()
    answer = server.found("/", filter=f'id eq "{user["id"]}"')
    answer.expect(answer.ids == [user["id"]], "the user is found")


@requirements("rfc7644-3.4.3", MAY, needs=("filter",), declinable=True)
def root_search(server: Server) -> None:
    """POST /.search finds resources of all types."""
    user = server.user()
    body = {"schemas": [SEARCH], "filter": f'id eq "{user["id"]}"'}
    answer = server.send("POST", "/.search", body).is_list()
    answer.expect(answer.ids == [user["id"]], "the user is found")


@requirements("rfc7644-3.4.2", SHOULD, needs=("groups",))
def groups_without_members(server: Server) -> None:
    """GET /Groups leaves members out on request."""
    group = server.group(server.user())
    answer = server.found("/Groups", filter=f'displayName eq "{group["displayName"]}"', excludedAttributes="members")
    answer.expect(all("members" not in one for one in answer.resources), "there are no members")
