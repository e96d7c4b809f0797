"""Users as snapshots, and templates to file them under."""

from typing import Any

from scim_server.events.model import Snapshot
from scim_server.events.subject import Template

BY_NAME = Template.parse("{userName}")
BY_EXTERNAL_ID = Template.parse("{externalId}")


def user(name: str | None = "jo", active: bool = True, *, id: str = "1", **attributes: Any) -> Snapshot:  # noqa: A002
    """A user; attributes that are None are left out."""
    document = {"userName": name, **attributes}
    return Snapshot(id, {key: value for key, value in document.items() if value is not None}, active)
