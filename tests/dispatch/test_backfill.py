"""A store that was not there before learns who had left, and shuts out nobody who had not."""

import dataclasses

import pytest
from dispatch.wards import FlushableRedis, Site, Ward, counted

from scim_server.dispatch import backfill as backfilling
from scim_server.dispatch.backfill import backfill
from scim_server.events.subject import Template
from scim_server.protocol.errors import Unavailable
from scim_server.storage.access import tenants
from scim_server.storage.sentinels import look


async def test_a_new_store_learns_who_has_left(ward: Ward, site: Site) -> None:
    before = counted("scim_backfilled_total")
    await ward.user("left", active=False)
    await ward.user("outside", entitled=False)
    await ward.user("here")
    await ward.user(None, active=False)
    for subject in ("left", "outside", "here"):
        site.crm.log_in(subject)
    await ward.look_and_mend()
    assert [site.crm.alive(subject) for subject in ("left", "outside", "here")] == [0, 0, 3]
    left = site.crm.gate("left")
    assert left is not None
    assert left[1] is True
    assert site.crm.gate("here") is None
    assert counted("scim_backfilled_total") - before == 2
    watched = await ward.watched()
    assert (watched["stage"], watched["lost"]) == (None, None)


async def test_who_shares_a_subject_with_somebody_inactive_stays_in(
    ward: Ward, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    await ward.user("jdoe", active=False)
    await ward.user("jdoe")
    site.crm.log_in("jdoe")
    await ward.look_and_mend()
    assert site.crm.alive("jdoe") == 3
    assert site.crm.gate("jdoe") is None
    assert "stay open" in caplog.text


async def test_what_moved_by_itself_is_left_alone(ward: Ward, site: Site) -> None:
    await ward.user("ann", active=False)
    await ward.lift("ann")  # she is being let in while the store is told of those who left
    site.crm.log_in("ann")
    await ward.look_and_mend()
    assert site.crm.alive("ann") == 3
    gate = site.crm.gate("ann")
    assert gate is not None
    assert gate[1] is False


async def test_who_comes_back_after_a_backfill_gets_in(ward: Ward, site: Site) -> None:
    await ward.user("ann", active=False)
    await ward.look_and_mend()
    denied = site.crm.gate("ann")
    await ward.lift("ann")
    lifted = site.crm.gate("ann")
    assert denied is not None
    assert lifted is not None
    assert lifted[0] > denied[0]
    assert lifted[1] is False


async def test_an_interrupted_backfill_goes_on_where_it_was(
    ward: Ward, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfilling, "PAGE", 2)
    before = counted("scim_backfilled_total")
    subjects = [f"p{number}" for number in range(7)]
    for subject in subjects:
        await ward.user(subject, active=False)
    await ward.sentinels.look("crm")
    watched = await look(ward.database, "crm", "")
    assert watched is not None
    pages = iter([0, 0])

    def now() -> int:
        if next(pages, None) is None:
            raise Unavailable("The database is away.")
        return ward.parts.deployment.now()

    failing = dataclasses.replace(ward.parts.deployment, now=now)
    with pytest.raises(Unavailable):
        await backfill(failing, failing.subscribers[0], await tenants(ward.database), watched)
    assert counted("scim_backfilled_total") - before == 4
    interrupted = await look(ward.database, "crm", "")
    assert interrupted is not None
    assert interrupted.stage == "deny"
    assert interrupted.after[0] == ward.tenant_id
    assert all(site.crm.gate(subject) is None for subject in subjects)
    await ward.sentinels.mend("crm")
    assert counted("scim_backfilled_total") - before == 7
    assert all(site.crm.gate(subject) is not None for subject in subjects)


async def test_a_known_store_is_told_once(site: Site) -> None:
    async with site.process() as first:
        await first.look_and_mend()
        await first.user("ann", active=False)  # of whom the store heard in another way
    async with site.process() as second:
        await second.look_and_mend()
    assert site.crm.gate("ann") is None


async def test_another_subject_template_is_told_anew(site: Site) -> None:
    async with site.process(subject="{id}") as first:
        await first.user("ann", active=False)
        await first.look_and_mend()
        assert site.crm.gate("ann") is None
    async with site.process() as second:
        await second.look_and_mend()
    assert site.crm.gate("ann") is not None


@pytest.mark.parametrize("crm", ["redis"], indirect=True)
async def test_each_tenant_with_a_server_of_its_own_is_told(site: Site) -> None:
    assert isinstance(site.crm, FlushableRedis)
    async with site.process(tenant="default") as ward:
        await ward.user("ann", active=False)
        await ward.look_and_mend()
        assert (await ward.watched())["tenant"] == "default"
    assert site.crm.gate("ann") is not None


@pytest.mark.parametrize(
    ("template", "shared"),
    [("{id}", False), ("{tenant}:{userName}", False), ("{externalId}", True), ("{userName}{id}", True)],
)
def test_only_ids_and_user_names_are_nobody_elses(template: str, shared: bool) -> None:
    assert backfilling._may_be_shared(Template.parse(template)) is shared
