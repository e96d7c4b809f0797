"""What a person and a program get to read: a line per requirement, failures with their exchange, a table, a JSON file.

Nothing here judges; exchanges are masked already when they are recorded.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from conformance.client import Exchange
from conformance.requirement import Level, Outcome, Requirement, Verdict

SHOWN_CHARACTERS = 2_000


def line(verdict: Verdict) -> str:
    """The verdict in one line; a failure goes on with what was expected and the exchange."""
    one = verdict.requirement
    reason = f"  ({verdict.because})" if verdict.outcome is Outcome.SKIP else ""
    first = f"{verdict.outcome}  {one.level:<{_WIDTH}}  {one.id}{reason}"
    return "\n".join([first, *_proof(verdict)]) if verdict.outcome is Outcome.FAIL else first


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many of each level passed, failed and were skipped."""
    counts = Counter((one.requirement.level, one.outcome) for one in verdicts)
    rows = [f"{'level':<{_WIDTH}}" + "".join(f"{outcome:>7}" for outcome in Outcome)]
    for level in Level:
        if any(counts[level, outcome] for outcome in Outcome):
            rows.append(f"{level:<{_WIDTH}}" + "".join(f"{counts[level, outcome]:>7}" for outcome in Outcome))
    return "\n".join(rows)


def as_json(server: str, verdicts: Iterable[Verdict]) -> str:
    """All verdicts with all exchanges: {"server", "requirements": [{"id", "level", …, "verdict", "exchanges"}]}."""
    return json.dumps({"server": server, "requirements": [_entry(one) for one in verdicts]}, indent=1)


def _entry(verdict: Verdict) -> dict[str, object]:
    one: Requirement = verdict.requirement
    return {
        "id": one.id,
        "level": one.level,
        "section": one.section,
        "says": one.says,
        "verdict": verdict.outcome,
        "because": verdict.because,
        "shown": asdict(verdict.shown) if verdict.shown else None,
        "exchanges": [asdict(exchange) for exchange in verdict.exchanges],
    }


def _proof(verdict: Verdict) -> list[str]:
    section = f"  [{verdict.requirement.section}]" if verdict.requirement.section else ""
    lines = [f"{verdict.requirement.says}{section}", f"expected: {verdict.because}"]
    lines += _spoken(verdict.shown) if verdict.shown else []
    return [f"      {each}" for each in lines]


def _spoken(exchange: Exchange) -> list[str]:
    sent = [f"{exchange.method} {exchange.url}", *_headers(exchange.headers.items()), *_body(exchange.body)]
    got = [str(exchange.status), *_headers(exchange.answer_headers.items()), *_body(exchange.answer_body)]
    return [f"> {each}" for each in sent] + [f"< {each}" for each in got]


def _headers(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name}: {value}" for name, value in pairs]


def _body(text: str) -> list[str]:
    if not text:
        return []
    cut = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} … ({len(text)} characters)"
    return ["", *cut.splitlines()]


_WIDTH = max(map(len, Level))
