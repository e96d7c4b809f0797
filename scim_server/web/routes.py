"""The route table: every address of the server, on one screen."""

from collections.abc import Sequence
from functools import partial

from starlette.routing import Route

from scim_server.protocol.attributes import ResourceType
from scim_server.web import bulk, discovery, explain, health, me, openapi, operator, queries, resources
from scim_server.web.address import Address, Endpoint
from scim_server.web.explain import recorded
from scim_server.web.site import BASE_PATH


def scim_routes(resource_types: Sequence[ResourceType]) -> list[Address]:
    """Everything below /scim/v2."""
    routes: list[Address] = []
    for rt in resource_types:
        one, search = rt.endpoint + "/{id}", rt.endpoint + "/.search"
        routes += [
            _at(search, POST=partial(queries.post, types=(rt,))),
            _at(rt.endpoint, GET=partial(queries.get, types=(rt,)), POST=recorded(partial(resources.create, rt=rt))),
            _at(
                one,
                GET=partial(resources.get, rt=rt),
                PUT=recorded(partial(resources.replace, rt=rt)),
                PATCH=recorded(partial(resources.patch, rt=rt)),
                DELETE=recorded(partial(resources.delete, rt=rt)),
            ),
        ]
    return [
        *routes,
        _at("", GET=partial(queries.get, types=resource_types)),
        _at("/.search", POST=partial(queries.post, types=resource_types)),
        _at("/.revoke", POST=recorded(operator.revoke)),
        _at("/Bulk", POST=recorded(bulk.post)),
        _at("/Me", GET=me.me, POST=me.me, PUT=me.me, PATCH=me.me, DELETE=me.me),
        _at("/ServiceProviderConfig", GET=discovery.service_provider_config),
        _at("/Schemas", GET=discovery.schemas),
        _at("/Schemas/{id}", GET=discovery.schema),
        _at("/ResourceTypes", GET=discovery.resource_types),
        _at("/ResourceTypes/{id}", GET=discovery.resource_type),
        _at("/openapi.json", GET=openapi.get),
    ]


def operator_routes() -> list[Address]:
    """Beside SCIM, for CRMs and people: the event feed and receipts."""
    return [
        _at("/events", "", GET=operator.events),
        _at("/receipts", "", GET=operator.user_receipts),
        _at("/receipts/{id}", "", GET=operator.receipt),
        _at("/requests/{id}", "", GET=explain.show),
    ]


def admin_routes() -> list[Route]:
    """Health and metrics; on a port of their own when SCIM_ADMIN_PORT is set."""
    return [
        Route("/livez", health.live, methods=["GET"]),
        Route("/readyz", health.ready, methods=["GET"]),
        Route("/metrics", health.prometheus, methods=["GET"]),
    ]


def _at(path: str, below: str = BASE_PATH, **by_method: Endpoint) -> Address:
    return Address(below + path, by_method)
