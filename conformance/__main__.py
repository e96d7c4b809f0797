"""`python -m conformance BASE_URL`: judges a server, prints the verdicts, deletes what it made.

Exit status: 0 no MUST failed, 1 one did, 2 nothing was judged (usage, or no server there).
"""

import argparse
import os
import secrets
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from conformance import report
from conformance.checks import REQUIREMENTS
from conformance.client import Client
from conformance.requirement import Level, Outcome, Requirement, Verdict, judge
from conformance.server import Server
from conformance.sessions import SessionProbe


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    asked = _parser().parse_args(arguments)
    chosen = [one for one in REQUIREMENTS if one.id.startswith(asked.only)]
    if asked.list:
        print(*(f"{one.id}  {one.level}  {one.says}" for one in chosen), sep="\n")
        return 0
    if not asked.base_url or not chosen:
        return _refuse(f"no requirement's id begins with {asked.only!r}" if asked.base_url else "BASE_URL is missing")
    with ExitStack() as stack:
        client = stack.enter_context(closing(Client(asked.base_url, asked.token)))
        other = stack.enter_context(closing(Client(asked.base_url, asked.other_token))) if asked.other_token else None
        probe = SessionProbe(asked.session_probe) if asked.session_probe else None
        reached = client.send("GET", "/ServiceProviderConfig")
        if reached.status == 0:
            return _refuse(f"{asked.base_url}: {reached.exchange.answer_body}")
        verdicts = run(chosen, Server(client, other, probe, f"conformance-{secrets.token_hex(4)}"))
    print("", report.summary(verdicts), sep="\n")
    if asked.json:
        asked.json.write_text(report.as_json(asked.base_url, verdicts))
    failed = any(one.outcome is Outcome.FAIL and one.requirement.level is Level.MUST for one in verdicts)
    return 1 if failed else 0


def run(chosen: Iterable[Requirement], server: Server) -> list[Verdict]:
    """Judges by each of them, printing as it goes; deletes what was made, also when it is interrupted."""
    verdicts = []
    try:
        for requirement in chosen:
            verdict = judge(requirement, server)
            print(report.line(verdict), flush=True)
            verdicts.append(verdict)
    finally:
        for client in filter(None, (server.client, server.other)):
            for path in client.delete_all_made():
                print(f"not deleted: {path}", file=sys.stderr)
    return verdicts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m conformance", description="Judge any SCIM 2.0 server.")
    parser.add_argument("base_url", nargs="?", metavar="BASE_URL", help="what comes before /Users")
    parser.add_argument("--token", default=os.environ.get("SCIM_TOKEN"), help="bearer token (default: $SCIM_TOKEN)")
    parser.add_argument("--other-token", help="a token of another tenant, to prove that tenants are apart")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all verdicts with all exchanges")
    parser.add_argument("--only", default="", metavar="PREFIX", help="only requirements whose id begins so")
    parser.add_argument("--session-probe", metavar="CMD", help="run as CMD open|alive USERNAME EXTERNALID ID")
    parser.add_argument("--list", action="store_true", help="print the requirements and stop")
    return parser


def _refuse(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
