"""Identifiers: version 7, in order, each once."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from scim_server.clock import new_id


def test_ids_are_version_7_of_now_and_rise() -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_id() for _ in range(20_000)]
    after = time.time_ns() // 1_000_000
    assert ids == sorted(set(ids))
    for each in (uuid.UUID(ids[0]), uuid.UUID(ids[-1])):
        assert (each.version, each.variant) == (7, uuid.RFC_4122)
        assert before <= each.int >> 80 <= after
    assert all(text == str(uuid.UUID(text)) for text in ids[:100])


def test_threads_never_share_one() -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: [new_id() for _ in range(2_000)], range(4)))
    assert len({one for ids in made for one in ids}) == 8_000
