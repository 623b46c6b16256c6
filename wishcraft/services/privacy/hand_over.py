"""Hands over what is known about a person: a file for the shop, and a mail to it with the link."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.people import Person
from wishcraft.domain.webhooks import REDACT_CUSTOMER, REDACT_SHOP, WebhookOutcome
from wishcraft.errors import ConfigurationError, PayloadInvalid
from wishcraft.files import RUNS, file_path
from wishcraft.mail.mailer import Mail
from wishcraft.mail.messages.content import Letterhead
from wishcraft.mail.messages.data_request import compose_data_request
from wishcraft.resources import Resources
from wishcraft.services.privacy.erase import NO_LIMIT, read_payload, runs_of
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.handler_protocol import Effect, Message, TakenByAnotherError, change_nothing
from wishcraft.settings import Settings, settings
from wishcraft.shopify.privacy_payloads import read_subject
from wishcraft.store import audit_log, customers, people, shops, webhook_inbox, webhook_payloads
from wishcraft.store.shops import ShopRef

RETRY_AFTER: Final = timedelta(minutes=15)
"""For how long no other consumer takes a request that this one hands over: longer than a handler may take."""


async def handle_data_requests(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Write a file for the one `customers/data_request`, and mail the shop its link, unless the person is to be erased.

    The file is written in a transaction that holds the request: an erasure that comes meanwhile waits, then deletes it.
    After the commit, the mail is sent. A request whose mail may have been sent is repeated only if the consumer died or
    the mail server did not say whether it has accepted the mail.

    Raises:
        PayloadInvalid: As `read_subject`.
        ConfigurationError: The file cannot be written, or a setting for mails is missing.
        TakenByAnotherError: It is handled, or another consumer does it.
        TransientError: The mail server does not accept the mail now; a repetition replaces the file.
    """
    [message] = messages
    person = read_subject(message.payload, shop.id, shop.domain, "orders_requested").person
    async with resources.db.transaction() as session:
        if not await webhook_inbox.lock_if_due(session, message.id, RETRY_AFTER):
            raise TakenByAnotherError
        merged = await customers.find_merged(session, shop.id, list(person.customers))
        person = person._replace(customers=person.customers | merged)
        if await _is_to_be_erased(session, shop, person):
            return Effect(frozenset(), change_nothing, unfinished=frozenset({message.id}))
        path = await _write(resources, session, shop, message, person)
    await _send(resources, settings(), shop, message, path)

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        await audit_log.record(write.session, write.actor, message.topic, "webhook", str(message.id))
        return {}

    return Effect(frozenset(), apply)


async def _is_to_be_erased(session: AsyncSession, shop: ShopRef, person: Person) -> bool:
    """Whether a redaction of the person or the shop waits: until it is handled, nothing is handed over."""
    for waiting in await webhook_payloads.find_unhandled(session, shop.domain, [REDACT_CUSTOMER, REDACT_SHOP]):
        content: Any = read_payload(waiting.payload)
        with suppress(PayloadInvalid):
            if waiting.topic == REDACT_SHOP or (
                isinstance(content, Mapping)
                and read_subject(content, shop.id, shop.domain, "orders_to_redact").person.shares(person)
            ):
                return True
    return False


async def _write(resources: Resources, session: AsyncSession, shop: ShopRef, message: Message, person: Person) -> str:
    """Write the file; its path in the URL."""
    known = await people.collect(session, shop.id, person, NO_LIMIT)
    run, name = runs_of(shop, person)[0], f"customer-data-{message.id}.json"
    content = {"shop": shop.domain, "request": message.payload, **known}
    await asyncio.to_thread(
        resources.files.write, f"{RUNS}/{run}", name, orjson.dumps(content, option=orjson.OPT_INDENT_2)
    )
    return file_path(run, name)


async def _send(resources: Resources, config: Settings, shop: ShopRef, message: Message, path: str) -> None:
    async with resources.db.autocommit() as session:
        contact = await shops.find_contact(session, shop.id)
    recipient = contact.email or config.ops_email
    if not recipient or config.mail_from is None:
        raise ConfigurationError("MAIL_URL and MAIL_FROM must be set, and OPS_EMAIL for shops without an address")
    letterhead = Letterhead(contact.name, shop.settings.brand_colour, language=shop.settings.language)
    written = compose_data_request(letterhead, config.public_link(path))
    message_id = f"<data-request-{shop.id}-{message.id}@{config.mail_from.rpartition('@')[2]}>"
    await resources.mailer.send(Mail(recipient, "WishCraft", written.subject, written.text, written.html, message_id))
