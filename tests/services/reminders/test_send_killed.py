"""Reminders of a run that is killed (SIGKILL) at different moments, and the next run."""

import pytest
from pydantic import SecretStr

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from tests.support.aliases import Demo
from tests.support.killed_runs import gate, kill_when, message_ids
from tests.support.reminders import EMMA, HUGO, NOW
from wishcraft.resources import Resources, open_resources
from wishcraft.services.reminders.send import remind_shop
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("two_to_remind")]


def states(demo: Demo) -> dict[str, str]:
    return dict(demo.execute("SELECT recipient, state FROM reminders").fetchall())


@pytest.mark.parametrize(
    ("state", "left", "copies"),
    [
        pytest.param("pending", set(), 2, id="while what is owed is written down"),
        pytest.param("sending", {"pending"}, 2, id="while a reminder is claimed"),
        pytest.param("sent", {"sending", "pending"}, 3, id="between acceptance and commit"),
    ],
)
async def test_under_resend_the_next_run_completes_a_killed_one(
    resources: Resources,
    settings: Settings,
    demo: Demo,
    shop: ShopRef,
    mailbox: Mailbox,
    state: str,
    left: set[str],
    copies: int,
) -> None:
    with gate(demo, state) as reached:
        await kill_when(settings, reached)
        assert set(states(demo).values()) == left
    counts = await remind_shop(resources, settings, shop, now=NOW)
    assert (counts["sent"], counts["held"]) == (2, 0)
    assert set(states(demo).values()) == {"sent"}
    ids = message_ids(mailbox)
    assert (len(ids), len(set(ids))) == (copies, 2)  # a second copy has the first one's Message-ID
    assert (await remind_shop(resources, settings, shop, now=NOW))["due"] == 0


@pytest.mark.parametrize("name", ["ses", "sendgrid"])
@pytest.mark.parametrize(("recovery", "copies"), [("resend", 3), ("hold", 2)])
async def test_a_kill_after_acceptance_by_a_provider_is_made_up_for_as_declared(
    settings: Settings,
    demo: Demo,
    shop: ShopRef,
    mailbox: Mailbox,
    mail_urls: dict[str, SecretStr],
    name: str,
    recovery: str,
    copies: int,
) -> None:
    chosen = settings.model_copy(update={"mail_url": mail_urls[name], "reminder_recovery": recovery})
    with gate(demo, "sent") as reached:
        await kill_when(chosen, reached)
    async with open_resources(chosen) as resources:
        counts = await remind_shop(resources, chosen, shop, now=NOW)
        assert (counts["sent"], counts["held"]) == (copies - 1, 3 - copies)
        assert (await remind_shop(resources, chosen, shop, now=NOW))["due"] == 0
    assert len(mailbox.messages) == copies
    assert {address for each in mailbox.messages for address in each.recipients} == {EMMA, HUGO}


async def test_under_hold_a_mail_accepted_before_a_kill_is_not_sent_again(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    holding = settings.model_copy(update={"reminder_recovery": "hold"})
    with gate(demo, "sent") as reached:
        await kill_when(holding, reached)
    for sent in (1, 0):
        counts = await remind_shop(resources, holding, shop, now=NOW)
        assert (counts["sent"], counts["held"]) == (sent, 1)
    assert sorted(states(demo).values()) == ["sending", "sent"]
    ids = message_ids(mailbox)
    assert len(ids) == len(set(ids)) == 2


@pytest.mark.parametrize(("recovery", "arrived"), [("resend", 2), ("hold", 1)])
async def test_a_mail_unconfirmed_at_a_kill_is_sent_again_or_held(
    resources: Resources,
    settings: Settings,
    shop: ShopRef,
    mailbox: Mailbox,
    recovery: str,
    arrived: int,
) -> None:
    chosen = settings.model_copy(update={"reminder_recovery": recovery})
    mailbox.faults.set(Fault(FaultKind.HANG, remaining=1))
    await kill_when(chosen, lambda: not mailbox.faults)  # the fault was used: the server has the content
    counts = await remind_shop(resources, chosen, shop, now=NOW)
    assert counts["sent"] == arrived == len(mailbox.messages)
    assert counts["held"] == 2 - arrived
