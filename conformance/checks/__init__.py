"""All requirements, in the order in which a server is judged: each module holds a chapter."""

from conformance.checks import (
    attributes,
    bulk,
    cursors,
    discovery,
    entra,
    filters,
    lists,
    okta,
    patch,
    patch_errors,
    projection,
    resources,
    tenants,
    termination,
    transport,
    versions,
)
from conformance.requirement import Requirement

_CHAPTERS = (
    discovery,
    transport,
    attributes,
    resources,
    filters,
    lists,
    projection,
    patch,
    patch_errors,
    versions,
    bulk,
    cursors,
    entra,
    okta,
    tenants,
    termination,
)

REQUIREMENTS: tuple[Requirement, ...] = tuple(one for chapter in _CHAPTERS for one in chapter.requirements)
