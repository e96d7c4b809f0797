"""What a requirement is, how one is declared, and how a server is judged by it.

A check is a function of a Server whose docstring is the requirement in one sentence and whose name completes its id:
`@requirements("rfc7644-3.6", MUST)` over `deleted_is_gone` declares `rfc7644-3.6-deleted-is-gone`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from conformance.client import Answer, Exchange, Failure, Skip
from conformance.server import Server

Check = Callable[[Server], None]


class Level(StrEnum):
    """Who demands it: the RFCs, how firmly, or a client that does not work without."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"
    ENTRA = "client:entra"
    OKTA = "client:okta"
    TERMINATION = "profile:termination"


MUST, SHOULD, MAY = Level.MUST, Level.SHOULD, Level.MAY


class Outcome(StrEnum):
    """What was found."""

    PASS = "PASS"
    FAIL = "FAIL"
    SKIP = "SKIP"


@dataclass(frozen=True)
class Requirement:
    """`needs`: features without which it does not apply (server.FEATURES). `declinable`: the RFC lets a server refuse
    with 501 or invalidFilter instead.
    """

    id: str
    level: Level
    says: str
    check: Check
    needs: tuple[str, ...] = ()
    declinable: bool = False

    @property
    def section(self) -> str:
        """The RFC and section: "RFC 7644 §3.6"; "" for a client's own demand."""
        rfc, _, rest = self.id.partition("-")
        return f"RFC {rfc[3:]} §{rest.partition('-')[0]}" if rfc.startswith("rfc") else ""


@dataclass(frozen=True)
class Verdict:
    """`because`: the expectation that was not met, or why it was skipped. `shown` is the exchange that proves a
    failure, `exchanges` are all of this requirement.
    """

    requirement: Requirement
    outcome: Outcome
    because: str = ""
    shown: Exchange | None = None
    exchanges: tuple[Exchange, ...] = ()


@dataclass
class Chapter:
    """Requirements that belong together, in the order of their declaration, with what all of them need."""

    needs: tuple[str, ...] = ()
    declared: list[Requirement] = field(default_factory=list)

    def __call__(
        self, prefix: str, level: Level, *, needs: tuple[str, ...] = (), declinable: bool = False
    ) -> Callable[[Check], Check]:
        """Declares the decorated check."""

        def declare(check: Check) -> Check:
            name = getattr(check, "__name__", "").replace("_", "-")
            says = " ".join((check.__doc__ or "").split())
            self.add(f"{prefix}-{name}", level, says, check, needs=needs, declinable=declinable)
            return check

        return declare

    def add(
        self,
        identifier: str,
        level: Level,
        says: str,
        check: Check,
        *,
        needs: tuple[str, ...] = (),
        declinable: bool = False,
    ) -> None:
        """Declares a row of a table."""
        self.declared.append(Requirement(identifier, level, says, check, (*self.needs, *needs), declinable))

    def __iter__(self) -> Iterator[Requirement]:
        return iter(self.declared)


def judge(requirement: Requirement, server: Server) -> Verdict:
    """The verdict; whatever the server answers, this does not raise."""
    if lacking := next(filter(None, map(server.lacks, requirement.needs)), None):
        return Verdict(requirement, Outcome.SKIP, lacking)
    server.forget_exchanges()
    try:
        requirement.check(server)
    except Skip as reason:
        return Verdict(requirement, Outcome.SKIP, str(reason), None, server.exchanges)
    except Failure as failure:
        shown = failure.exchange
        if requirement.declinable and shown and Answer(shown).declines:
            return Verdict(requirement, Outcome.SKIP, _declined(shown), None, server.exchanges)
        return Verdict(requirement, Outcome.FAIL, str(failure), shown, server.exchanges)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        # A check reads answers as the RFC shapes them; one that is shaped otherwise fails the requirement, not the kit.
        last = server.exchanges[-1] if server.exchanges else None
        return Verdict(requirement, Outcome.FAIL, f"the answer has its usual shape ({error!r})", last, server.exchanges)
    return Verdict(requirement, Outcome.PASS, "", None, server.exchanges)


def _declined(exchange: Exchange) -> str:
    return "the server declines with 501" if exchange.status == 501 else "the server declines with invalidFilter"
