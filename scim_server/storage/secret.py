"""Random keys that all processes of a deployment share and that survive restarts: rows made on first use."""

import secrets

from sqlalchemy import bindparam, select

from scim_server.storage.database import Database
from scim_server.storage.statements import Statement
from scim_server.storage.tables import Key, secret

_BYTES = 32


class SharedSecret:
    """One key by its name; read once per process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._value: bytes | None = None

    async def get(self, database: Database) -> bytes:
        """256 random bits, the same for everybody. Raises Unavailable."""
        if self._value is None:
            rows = await database.read(_SELECT, {"name": self._name})
            if not rows:  # whoever comes first makes it
                await database.write((_INSERT, {"name": self._name, "value": secrets.token_hex(_BYTES)}))
                rows = await database.read(_SELECT, {"name": self._name})
            self._value = bytes.fromhex(rows[0]["value"])
        return self._value


_SELECT = Statement(lambda _: select(secret.c.value).where(secret.c.name == bindparam("name", type_=Key)))
_INSERT = Statement(
    lambda d: (
        d.insert(secret)
        .values(name=bindparam("name", type_=Key), value=bindparam("value", type_=Key))
        .on_conflict_do_nothing()
    )
)
