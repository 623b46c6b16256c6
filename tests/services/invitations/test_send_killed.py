"""Invitations of a run that is killed (SIGKILL) at different moments, and the next run."""

import pytest

from deployments.sandbox.mailbox.messages import Mailbox
from tests.support.aliases import Demo
from tests.support.invitations import invite, link_in
from tests.support.killed_runs import gate, kill_when, message_ids
from tests.support.reminders import NOW
from wishcraft.resources import Resources
from wishcraft.services.invitations.send import invite_shop
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef

pytestmark = pytest.mark.chaos


@pytest.fixture(autouse=True)
def _two_to_invite(demo: Demo) -> None:
    """Two invitations wait: Emma's and Hugo's."""
    demo.execute("DELETE FROM invitations")
    registry = invite(demo, "emma@example.com", "hugo@example.com")
    demo.execute("UPDATE registries SET status = 'active', event_date = NULL WHERE id = %s", [registry])


def states(demo: Demo) -> set[str]:
    return {state for (state,) in demo.execute("SELECT state FROM invitations")}


@pytest.mark.parametrize(
    ("state", "left", "copies"),
    [
        pytest.param("sending", {"pending"}, 2, id="while an invitation is claimed"),
        pytest.param("sent", {"sending", "pending"}, 3, id="between acceptance and commit"),
    ],
)
async def test_under_resend_the_next_run_completes_a_killed_one_with_the_same_links(
    resources: Resources,
    settings: Settings,
    demo: Demo,
    shop: ShopRef,
    mailbox: Mailbox,
    state: str,
    left: set[str],
    copies: int,
) -> None:
    with gate(demo, state, "invitations") as reached:
        await kill_when(settings, reached, "invite")
        assert states(demo) == left
    counts = await invite_shop(resources, settings, shop, now=NOW)
    assert (counts["sent"], counts["held"]) == (2, 0)
    assert states(demo) == {"sent"}
    ids = message_ids(mailbox)
    assert (len(ids), len(set(ids))) == (copies, 2)  # a second copy has the first one's Message-ID
    assert len({link_in(received) for received in mailbox.messages}) == 2
    assert (await invite_shop(resources, settings, shop, now=NOW))["due"] == 0


async def test_under_hold_an_invitation_accepted_before_a_kill_is_not_sent_again(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    holding = settings.model_copy(update={"reminder_recovery": "hold"})
    with gate(demo, "sent", "invitations") as reached:
        await kill_when(holding, reached, "invite")
    for sent in (1, 0):
        counts = await invite_shop(resources, holding, shop, now=NOW)
        assert (counts["sent"], counts["held"]) == (sent, 1)
    ids = message_ids(mailbox)
    assert len(ids) == len(set(ids)) == 2
