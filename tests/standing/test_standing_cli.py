"""The same by the command line: exit codes, JSON on stdout, everything else on stderr."""

import json
from typing import Any

import pytest
from standing.firm import Firm, House

on_sqlite = pytest.mark.parametrize("house", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("house", ["postgres"], indirect=True)


def run(firm: Firm, *words: str, code: int = 0) -> tuple[str, str]:
    """stdout and stderr of a command for this tenant."""
    done = firm.house.run(*words, "--tenant", firm.idp.row.name)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def listed(firm: Firm, *words: str) -> Any:
    out, err = run(firm, *words, "--json")
    assert err == ""
    return json.loads(out)


@on_sqlite
async def test_the_brake(house: House) -> None:
    firm = await house.firm()
    set_ = house.run("tenant", "set", firm.idp.row.name, "brake_hold=20%")
    assert (set_.returncode, set_.stdout) == (0, "")
    firm.idp.token = await firm.idp.issue()
    people = await firm.staff(23)
    for person in people:
        await firm.active(person, False)
    first, second, third = people[20:]
    held = listed(firm, "brake", "list")
    assert [(one["user"], one["userName"]) for one in held] == [(p.id, p.user_name) for p in (first, second, third)]
    assert set(held[0]) == {"user", "userName", "stores", "since"}
    out, err = run(firm, "brake", "approve", "--user", first.user_name)
    assert out.startswith(f"{first.id}  done; sessions=3; dur=")
    assert err == ""
    assert firm.is_cut_off(first)
    assert run(firm, "brake", "approve", "--user", first.id)[0] == f"{first.id}  not held any more\n"
    assert run(firm, "brake", "reject", "--user", second.subject)[0] == f"{second.id}  restored\n"
    assert firm.crm.alive(second.subject) == 3
    assert await firm.is_active(second)
    await firm.idp.send("DELETE", f"/Users/{third.id}")
    assert [one["user"] for one in listed(firm, "brake", "list")] == [third.id]
    assert "done; sessions=3" in run(firm, "brake", "approve", "--user", third.id)[0]
    assert run(firm, "brake", "approve") == ("", "")
    out, err = run(firm, "brake", "approve", "--user", "nobody", code=1)
    assert (out, err.count("\n")) == ("", 1)
    assert "nobody" in err


@on_postgres
async def test_undo(firm: Firm) -> None:
    inactive, deleted = await firm.staff(2)
    group = await firm.group("Sales", deleted)
    await firm.active(inactive, False)
    await firm.idp.send("DELETE", f"/Users/{deleted.id}")
    lost = listed(firm, "deactivations", "list")
    assert [(one["user"], one["userName"], one["how"], one["undone"]) for one in lost] == [
        (deleted.id, deleted.user_name, "deleted", ""),
        (inactive.id, inactive.user_name, "deactivated", ""),
    ]
    assert lost[0]["actor"].startswith("token:")
    out, err = run(firm, "deactivations", "undo", "--since", "1h", "--dry-run", "--json")
    assert {one["result"] for one in json.loads(out)} == {"would be restored", "would be recreated"}
    assert err == "2 users.\n"
    assert firm.is_denied(inactive)
    assert json.loads(run(firm, "deactivations", "undo", "--actor", "cli:nobody", "--json")[0]) == []
    out, err = run(firm, "deactivations", "undo")
    assert (inactive.user_name in out, "recreated" in out, err) == (True, True, "2 users.\n")
    await firm.delivered()
    assert not firm.is_denied(inactive)
    assert (await firm.idp.get(f"/Groups/{group}")).json()["members"][0]["value"] == deleted.id
    assert all(one["undone"] for one in listed(firm, "deactivations", "list"))
    for since in ("1y", "-1h"):
        out, err = run(firm, "deactivations", "undo", f"--since={since}", code=1)
        assert (out, "duration" in err) == ("", True)
    run(firm, "deactivations", "undo", "--nonsense", code=2)


@on_postgres
async def test_receipts(firm: Firm) -> None:
    leaver, deleted = await firm.staff(2)
    answer = await firm.active(leaver, False)
    await firm.idp.send("DELETE", f"/Users/{deleted.id}")
    await firm.delivered()
    out, err = run(firm, "receipt", "--user", leaver.user_name)
    (by_user,) = json.loads(out)
    assert err == ""
    assert by_user["stores"][0]["sessions"] == 3
    assert json.loads(run(firm, "receipt", "--request", answer.headers["x-request-id"])[0]) == [by_user]
    assert json.loads(run(firm, "receipt", "--user", deleted.id)[0])[0]["action"] == "user.delete"
    assert json.loads(run(firm, "receipt", "--request", "unknown")[0]) == []
    assert "no user" in run(firm, "receipt", "--user", "nobody", code=1)[1]
    out, err = run(firm, "receipt", code=2)
    assert (out, "either" in err) == ("", True)


@on_sqlite
async def test_a_protected_account_needs_the_override(firm: Firm) -> None:
    person = await firm.hire()
    await firm.set(f"protected_accounts={person.user_name}")
    out, err = run(firm, "user", "deactivate", person.user_name, code=1)
    assert (out, err.count("\n")) == ("", 1)
    assert "--override" in err
    assert firm.crm.alive(person.subject) == 3
    out, err = run(firm, "user", "deactivate", person.user_name, "--override")
    assert out.startswith("Session-Termination: done; sessions=3; dur=")
    assert err == "p***@people.example is inactive.\n"  # stderr often goes to a log
    assert firm.is_cut_off(person)
    (audit,) = await firm.audits("user.update")
    assert json.loads(audit["detail"])["override"] is True
    again = run(firm, "user", "deactivate", person.user_name, "--override")[0]
    assert again.startswith("Session-Termination: done; sessions=0; dur=")
    assert run(firm, "user", "reactivate", person.id)[1] == f"{person.id} is active.\n"
    assert not firm.is_denied(person)


async def test_the_option_brings_everybody_in_line(firm: Firm) -> None:
    inside, outside = await firm.staff(2)
    await firm.group("CRM Users", inside)
    name = firm.idp.row.name
    done = firm.house.run("tenant", "set", name, " access_groups = CRM Users", "brake_hold=30")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "1 users lost access and 0 got it" in done.stderr
    assert firm.is_cut_off(outside)
    assert firm.crm.alive(inside.subject) == 3
    done = firm.house.run("tenant", "set", name, "access_groups=")
    assert "0 users lost access and 1 got it" in done.stderr
    assert not firm.is_denied(outside)
    for wrong in ("access_groups", "brake_hold=120"):
        done = firm.house.run("tenant", "set", name, wrong)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


@on_sqlite
async def test_a_name_that_is_no_utf_8_is_one_line_of_error(firm: Firm) -> None:
    out, err = run(firm, "user", "deactivate", "\udcff", code=2)

    assert (out, err.count("\n")) == ("", 1)


@on_sqlite
async def test_a_revocation_may_name_what_it_ends(firm: Firm) -> None:
    person = await firm.hire()
    assert run(firm, "sessions", "revoke", person.user_name, "--kind", "api_key")[0] == "Session-Termination: none\n"
    assert firm.crm.alive(person.subject) == 3
    out, _ = run(firm, "sessions", "revoke", person.user_name, "--kind", "api_key", "--kind", "session")
    assert "done; sessions=3" in out
    (shown,) = listed(firm, "sessions", "show", person.user_name)
    assert shown["ends"] == "session"
    assert shown["kind"] == "cannot be listed", "an empty list would say that the key is wrong"
    run(firm, "sessions", "revoke", person.user_name, "--kind", "cookie", code=2)
