"""What of a request's query may stand in the log."""

import pytest

from scim_server.log import mask_query


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("filter=userName+eq+%22ada%22&count=1", 'filter=userName eq "***"&count=1'),
        ("filter=title%20eq%20%22a%5C%22b%22", 'filter=title eq "***"'),
        ("filter=userName+eq+%22ada", 'filter=userName eq "***"'),
        ("filter=userName+eq+%27ada%27+and+active+eq+true", 'filter=userName eq "***" and active eq true'),
        ("filter=title+eq+%22O%27Neill%22+and+active+pr", 'filter=title eq "***" and active pr'),
        ("userName=ada.lovelace&wait=1", "userName=***&wait=1"),
        ("wait=1&externalid=7f1c", "wait=1&externalid=***"),
        ("id=0192&after=1.2", "id=0192&after=1.2"),
        ("attributes=userName&sortBy=userName", "attributes=userName&sortBy=userName"),
    ],
)
def test_nobody_is_named(query: str, shown: str) -> None:
    assert mask_query(query) == shown
