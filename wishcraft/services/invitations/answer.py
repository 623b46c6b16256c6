"""Confirms or declines an address by the link of its invitation."""

from typing import Final

from wishcraft.domain.invitations import InvitationAnswer, hash_token, is_token
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.resources import Resources
from wishcraft.store import audit_log, invitations, suppressions
from wishcraft.store.audit_log import Actor, Origin
from wishcraft.store.invitations import LinkedInvitation

_ACTOR: Final = "invitation link"


async def find_invitation(resources: Resources, token: str) -> LinkedInvitation | None:
    """Return the invitation of a link's token; None if there is none. Read-only."""
    if not is_token(token):
        return None
    async with resources.db.autocommit() as session:
        return await invitations.find_linked(session, hash_token(token))


async def answer_invitation(
    resources: Resources, token: str, answer: InvitationAnswer, origin: Origin
) -> LinkedInvitation | None:
    """Store the answer if the invitation waits for one, and return the invitation as it is then.

    The first answer counts: later ones and those after the link has ended change nothing. Nor do those of addresses
    that were unsubscribed or complained, to which no mail can be promised. One from which a mail came back gets mail
    again once it confirms: the invitation has arrived.
    """
    found = await find_invitation(resources, token)
    if found is None or found.suppressed not in {None, SuppressionReason.BOUNCE}:
        return found
    async with resources.db.transaction() as session:
        if answer is InvitationAnswer.CONFIRMED:  # before it locks the row, for which another lift may wait
            await suppressions.serialise_claims(session, found.shop_id)
        if await invitations.answer(session, found.shop_id, found.id, answer):
            actor = Actor(found.shop_id, _ACTOR, origin)
            await audit_log.record(session, actor, f"invitation.{answer}", "registry", str(found.registry_id))
            if answer is InvitationAnswer.CONFIRMED and await suppressions.lift(
                session, found.shop_id, [found.address_hash], [SuppressionReason.BOUNCE]
            ):
                await audit_log.record(session, actor, "mail.resubscribed", "address", found.address_hash.hex())
        return await invitations.find_linked(session, hash_token(token))
