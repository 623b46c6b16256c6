"""Hands over what is known about a person: a file for the shop, and a mail to it with the link."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from wishcraft.domain.people import Person
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import ConfigurationError
from wishcraft.files import RUNS
from wishcraft.mail.mailer import Mail
from wishcraft.mail.messages.data_request import compose_data_request
from wishcraft.mail.messages.rendering import Letterhead
from wishcraft.resources import Resources
from wishcraft.services.privacy.erase import EVER, runs_of, shop_key
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.reminders.unsubscribe import public_link
from wishcraft.services.webhooks.handling import Effect, Message
from wishcraft.settings import Settings, settings
from wishcraft.shopify.privacy_payloads import read_subject
from wishcraft.store import audit_log, customers, people, shops
from wishcraft.store.shops import ShopRef

DATA_REQUEST: Final = "customers/data_request"


async def handle_data_requests(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Write a file for each `customers/data_request`, and mail the shop its link.

    Raises:
        PayloadInvalid: As `read_subject`.
        ConfigurationError: The file cannot be written, or a setting for mails is missing.
        TransientError: The mail server does not accept the mail now; a repetition replaces the file.
    """
    requested = [read_subject(each.payload, shop.id, shop.domain, "orders_requested").person for each in messages]
    for message, person in zip(messages, requested, strict=True):
        await _hand_over(resources, settings(), shop, message, person)

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        for each in messages:
            await audit_log.record(write.session, write.actor, each.topic, "webhook", str(each.id))
        return {}

    return Effect(frozenset(), apply)


async def _hand_over(resources: Resources, config: Settings, shop: ShopRef, message: Message, person: Person) -> None:
    async with resources.db.repeatable_read() as session:
        merged = await customers.find_merged(session, shop.id, list(person.customers))
        person = person._replace(customers=person.customers | merged)
        known = await people.collect(session, shop.id, person, EVER)
        contact = await shops.find_contact(session, shop.id)
    run = next(iter(runs_of(shop, person)), f"{shop_key(shop)}-orders")  # it may name orders alone
    name = f"customer-data-{message.id}.json"
    content = orjson.dumps({"shop": shop.domain, **known}, option=orjson.OPT_INDENT_2)
    await asyncio.to_thread(resources.files.write, f"{RUNS}/{run}", name, content)
    recipient = contact.email or config.ops_email
    if not recipient or config.mail_from is None:
        raise ConfigurationError("SMTP_URL and MAIL_FROM must be set, and OPS_EMAIL for shops without an address")
    letterhead = Letterhead(contact.name, shop.settings.brand_colour)
    written = compose_data_request(letterhead, public_link(config, f"/files/{run}/{name}"))
    message_id = f"<data-request-{shop.id}-{message.id}@{config.mail_from.rpartition('@')[2]}>"
    await resources.mailer.send(Mail(recipient, "WishCraft", written.subject, written.text, written.html, message_id))
