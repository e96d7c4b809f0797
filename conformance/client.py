"""A small SCIM client that remembers every exchange, what a POST made, and never shows its token.

It owns the wire: addresses, headers, JSON, masking. What an answer must be is for the checks to say; Answer has the
questions that many of them ask.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx

SCIM_JSON = "application/scim+json"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
MASK = "***"
TIMEOUT_S = 60.0
DEMANDED = {"invalidFilter", "mutability", "noTarget", "uniqueness", "sensitive"}  # scimTypes that a section asks for

Json = dict[str, Any]


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, the token masked. `status` 0: no answer came, and `answer_body` says why."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str
    status: int
    answer_headers: Mapping[str, str]
    answer_body: str


class Failure(Exception):
    """A requirement is not met. The text says what was expected; `exchange` shows that it was not so."""

    def __init__(self, expectation: str, exchange: Exchange | None = None) -> None:
        super().__init__(expectation)
        self.exchange = exchange


class Skip(Exception):
    """A requirement does not apply to this server; the text says why."""


@dataclass(frozen=True)
class Answer:
    """What came back, with the exchange that proves it. Methods that judge raise Failure."""

    exchange: Exchange

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.exchange.status

    @property
    def body(self) -> Any:
        """The JSON object of the body."""
        try:
            found = json.loads(self.exchange.answer_body)
        except ValueError:
            found = None
        self.expect(isinstance(found, dict), "the body is a JSON object")
        return found

    @property
    def resources(self) -> list[Json]:
        """The Resources of a ListResponse; none when it has none."""
        found = self.body.get("Resources", [])
        self.expect(isinstance(found, list), "Resources is a list")
        return list(found)

    @property
    def ids(self) -> list[str]:
        """The ids of the Resources, in their order."""
        return [str(resource.get("id")) for resource in self.resources]

    @property
    def declines(self) -> bool:
        """Whether the server says, in a way that RFC 7644 provides for, that it does not do this."""
        return self.status == 501 or (self.status == 400 and '"invalidFilter"' in self.exchange.answer_body)

    def header(self, name: str) -> str:
        """A header of the answer, "" when it is missing."""
        return self.exchange.answer_headers.get(name.lower(), "")

    def expect(self, holds: bool, expectation: str) -> Self:
        """Itself if that holds."""
        if not holds:
            raise Failure(expectation, self.exchange)
        return self

    def has_status(self, *allowed: int) -> Self:
        """One of these."""
        return self.expect(self.status in allowed, f"the status is {' or '.join(map(str, allowed))}")

    def shows(self, wanted: Json) -> Self:
        """The body has these values; see `fits`."""
        return self.expect(fits(self.body, wanted), f"the body shows {json.dumps(wanted, ensure_ascii=False)}")

    def is_list(self) -> Self:
        """200 and a ListResponse."""
        body = self.has_status(200).body
        self.expect(LIST in body.get("schemas", []), f'"schemas" has {LIST}')
        return self.expect(type(body.get("totalResults")) is int, "totalResults is an integer")

    def is_error(self, status: int, *scim_types: str) -> Self:
        """A SCIM Error of this status, and of one of these scimTypes if any is given. A scimType may be left out, which
        RFC 7644 §3.12 allows, unless all that are given are such as its other sections demand.
        """
        self.has_status(status)
        body = self.body
        self.expect(ERROR in body.get("schemas", []), f'"schemas" has {ERROR}')
        self.expect(body.get("status") == str(status), f'"status" is the text "{status}"')
        said = body.get("scimType")
        optional = said is None and not set(scim_types) <= DEMANDED
        allowed = " or ".join(scim_types)
        return self.expect(not scim_types or optional or said in scim_types, f'"scimType" is {allowed}')


class Client:
    """Requests with one token. `exchanges` grows with each; `made` has the paths of resources that POST made."""

    def __init__(self, base_url: str, token: str | None) -> None:
        self.base_url = base_url.rstrip("/")
        self.token = token
        self.exchanges: list[Exchange] = []
        self.made: list[str] = []
        self._http = httpx.Client(timeout=TIMEOUT_S, trust_env=False)

    def send(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, Any] | None = None, **headers: str | None
    ) -> Answer:
        """`path`: below the base URL, or an address. `body`: text as it is, else JSON. `If_Match=…` is the header
        If-Match; None leaves one out. An unreachable server is an answer of status 0.
        """
        url = path if path.startswith(("http:", "https:")) else self.base_url + path
        if query:
            url += "?" + urlencode(query, quote_via=quote)
        text = "" if body is None else body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        answer = Answer(self._exchange(method, url, text, self._headers(text, headers)))
        self.exchanges.append(answer.exchange)
        if method == "POST":
            self.made += _made(path, answer)
        return answer

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()

    def delete_all_made(self) -> list[str]:
        """Deletes what POST made, the last first. Returns the paths that are still there."""
        left = []
        while self.made:
            path = self.made.pop()
            if self.send("DELETE", path).status not in (200, 204, 404):
                left.append(path)
        return left

    def _headers(self, text: str, given: Mapping[str, str | None]) -> dict[str, str]:
        headers: dict[str, str | None] = {"Accept": SCIM_JSON}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if text:
            headers["Content-Type"] = SCIM_JSON
        headers |= {name.replace("_", "-"): value for name, value in given.items()}
        return {name: value for name, value in headers.items() if value is not None}

    def _exchange(self, method: str, url: str, text: str, headers: dict[str, str]) -> Exchange:
        try:
            answer = self._http.request(method, url, content=text.encode(), headers=headers)
        except httpx.HTTPError as error:
            status, answer_headers, answer_body = 0, {}, f"no answer: {error!r}"
        else:
            status, answer_headers, answer_body = answer.status_code, dict(answer.headers), answer.text
        shown = {name: self._masked(value) for name, value in headers.items()}
        returned = {name: self._masked(value) for name, value in answer_headers.items()}
        masked = self._masked
        return Exchange(method, masked(url), shown, masked(text), status, returned, masked(answer_body))

    def _masked(self, text: str) -> str:
        return text.replace(self.token, MASK) if self.token else text


def fits(found: Any, wanted: Any) -> bool:
    """Whether `found` has what `wanted` names: None is absent or empty, a list has just these elements in any order."""
    if wanted is None:
        return found in (None, [], {})
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(fits(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        same_length = isinstance(found, list) and len(found) == len(wanted)
        return same_length and all(any(fits(each, value) for each in found) for value in wanted)
    return type(found) is type(wanted) and bool(found == wanted)


def _made(path: str, answer: Answer) -> list[str]:
    """Where the resources are that this answer to a POST says were made, those of a BulkResponse too."""
    try:
        body = json.loads(answer.exchange.answer_body)
    except ValueError:
        return []
    if not isinstance(body, dict):
        return []
    if answer.status == 201 and body.get("id"):
        return [f"{path.partition('?')[0].rstrip('/')}/{quote(str(body['id']), safe='')}"]
    done = body.get("Operations", [])
    created = [one.get("location", "") for one in done if str(one.get("status")) == "201"] if done else []
    return ["/" + "/".join(location.split("/")[-2:]) for location in created if location]
