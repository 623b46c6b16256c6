"""Creating, updating and deleting registries for their registrants."""

import secrets
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from wishcraft.cache.entries import Entry
from wishcraft.cache.keys import SessionName
from wishcraft.domain.access_codes import find_weakness
from wishcraft.domain.callers import Caller
from wishcraft.domain.registries import MAX_REGISTRIES_PER_CUSTOMER, RegistryStatus, Visibility, make_slug
from wishcraft.errors import Conflict, LimitReached, NotAllowed, invalid_field
from wishcraft.resources import Resources
from wishcraft.services.registries.code_hashes import hash_code
from wishcraft.services.registries.write import (
    ChangeRequest,
    RegistryWrite,
    change_registry,
    check_change,
    registry_write,
)
from wishcraft.store import audit_log, idempotency, invitations, mail_events, private_fields, registries, sessions
from wishcraft.store.audit_log import Actor, Origin
from wishcraft.store.idempotency import IdempotencyKey, StoredResult
from wishcraft.store.registries import NewRegistry
from wishcraft.store.schema import ShopSettings

_SLUG_BYTES: Final = 10
_COLUMNS_OF_PEOPLE: Final = frozenset({"customer_email", "co_registrants"})


@dataclass(frozen=True, slots=True)
class Draft:
    """The columns of `registries` that a registrant sets, by name, and the access code in clear text."""

    values: dict[str, Any]
    access_code: str | None = None


async def create_registry(
    resources: Resources, caller: Caller, draft: Draft, *, key: IdempotencyKey | None, origin: Origin
) -> tuple[str, Entry | None]:
    """Create a registry for the caller's customer. A repeated idempotency key creates no second one.

    Returns:
        Its slug, and its cache entry for its registrant, None if it was not filled or the key was repeated.

    Raises:
        NotAllowed: The caller neither is a customer nor acts for one.
        Conflict: The key was sent with another request, or the customer was merged into another.
        LimitReached: The customer has `MAX_REGISTRIES_PER_CUSTOMER` registries that are not archived.
        Invalid: Password protection without an access code or with a weak one, or switched off by the shop.
    """
    if caller.customer_id is None:
        raise NotAllowed("A registry belongs to a customer: log in, or name the customer in X-Customer-Id.")
    _check_strength(draft, draft.values["title"], draft.values["event_date"])
    code_hash = await hash_code(draft.access_code, caller.name) if draft.access_code else None
    actor = Actor(caller.shop_id, caller.name, origin, caller.acts_for)
    acquire = [idempotency.acquire_key(key)] if key else []
    lock = registries.lock_customer(caller.shop_id, caller.customer_id)
    # A merge locks the customer before it changes keys: the other order could be a deadlock.
    async with registry_write(resources, actor, on_cache_down="announce", first=[*lock, *acquire]) as write:
        customer = registries.read_customer(write.found[len(lock) - 1])
        if customer.is_merged:  # the one who was kept would never see it
            raise Conflict("The customer was merged into another: log in again, or name that one in X-Customer-Id.")
        if key and not write.found[-1]:
            return await replay_stored(write, key), None
        _check_number(customer.registered)
        is_new = code_hash is not None
        _check_code(customer.settings, draft.values["visibility"], has_code=is_new, is_new=is_new)
        slug = make_slug(draft.values["title"], draft.values["event_type"], secrets.token_bytes(_SLUG_BYTES))
        new = NewRegistry(slug=slug, access_code_hash=code_hash, customer_id=caller.customer_id, **draft.values)
        write.later += [
            registries.add(caller.shop_id, customer.next_id, new),
            invitations.invite_first(
                caller.shop_id, customer.next_id, new.customer_email, new.co_registrants, vouched=caller.is_server
            ),
        ]
        write.changed(customer.next_id, "registry.created")
        if key:
            write.later.append(idempotency.complete(key, slug))
        write.private = private_fields.find(caller.shop_id, caller.customer_id, slug)
    return slug, write.own_entry(slug)


async def update_registry(resources: Resources, change: ChangeRequest, draft: Draft) -> Entry | None:
    """Set the draft's columns; others keep their values. A new access code ends the grants that the old one gave.

    If the columns have these values already, the registry stays at its version.

    Returns:
        The registry's refilled cache entry for its registrant; None if it was not refilled.

    Raises:
        RequestRefused: As `change_registry`; Invalid, and LimitReached of an archived one, as `create_registry`.
    """
    code_hash = None
    if draft.access_code:
        await check_change(resources, change)  # before the hash, which is expensive
        code_hash = await hash_code(draft.access_code, change.caller.name)
    values = draft.values | ({"access_code_hash": code_hash} if code_hash else {})
    shop_id, ended = change.caller.shop_id, list[str]()
    async with change_registry(resources, change) as (write, registry):
        title, day = (draft.values.get(name, getattr(registry, name)) for name in ("title", "event_date"))
        _check_strength(draft, title, day, registry.slug)
        visibility = draft.values.get("visibility", registry.visibility)
        if code_hash or visibility is not registry.visibility:  # protected ones stay protected
            is_new = code_hash is not None
            _check_code(registry.settings, visibility, has_code=registry.has_code or is_new, is_new=is_new)
        if registry.status is RegistryStatus.ARCHIVED and values.get("status", registry.status) != registry.status:
            assert registry.owner  # noqa: S101  the caller is its owner
            *_, facts = await write.run(*registries.lock_customer(shop_id, registry.owner))
            _check_number(registries.read_customer(facts).registered)
        changed = await registries.update_columns(write.session, shop_id, registry.id, values)
        write.is_empty = not changed
        write.details["fields"] = sorted("access_code" if name == "access_code_hash" else name for name in changed)
        if "status" in changed and values["status"] is RegistryStatus.ARCHIVED:
            write.action = "registry.archived"
        if draft.values.keys() & _COLUMNS_OF_PEOPLE:
            vouched = change.caller.is_server and "customer_email" in draft.values
            await invitations.invite(write.session, shop_id, registry.id, vouched=vouched)
        if code_hash:
            ended = (await sessions.end_grants(write.session, shop_id, [registry.slug]))[registry.slug]
    if ended:
        await resources.sessions.try_delete([SessionName(shop_id, each) for each in ended])
    return write.own_entry(change.slug)


async def delete_registry(resources: Resources, change: ChangeRequest) -> None:
    """Delete the registry with all that belongs to it; of its purchases, nameless rows stay for the reports.

    Raises:
        RequestRefused: As `change_registry`.
    """
    async with change_registry(resources, change) as (write, registry):
        await remove(write, registry.id, counted_for=registry.owner)


async def remove(write: RegistryWrite, registry_id: int, *, counted_for: int | None) -> None:
    """Delete a registry that the write has locked; the caller notes the change.

    Its invitations of the last day go on to count for the customer `counted_for`; None is no customer.
    """
    shop_id = write.actor.shop_id
    await idempotency.clear_results(write.session, shop_id, registry_id)
    await invitations.count_deleted(write.session, shop_id, registry_id, counted_for)
    await mail_events.delete_mails(write.session, shop_id, registry_id)
    await audit_log.hide_answerers(write.session, shop_id, registry_id)
    await registries.delete_one(write.session, shop_id, registry_id)


async def replay_stored(write: RegistryWrite, key: IdempotencyKey) -> str:
    """The result of the request that has acquired the key: as `replay`."""
    [rows] = await write.run(idempotency.find_stored(key))
    return replay(idempotency.read_stored(key, rows))


def replay(stored: StoredResult) -> str:
    """The result that an earlier request with the same idempotency key stored.

    Raises:
        Conflict: That request was another one, or the registry was deleted since.
    """
    if not stored.same_request:
        raise Conflict("This Idempotency-Key was sent with another request: use a new one for each.")
    if not stored.created:
        raise Conflict("What this Idempotency-Key created was deleted since: use a new one to create another.")
    return stored.created


def _check_number(registered: int) -> None:
    if registered >= MAX_REGISTRIES_PER_CUSTOMER:
        raise LimitReached(
            f"A customer may have {MAX_REGISTRIES_PER_CUSTOMER} registries that are not archived:"
            " archive or delete another one first."
        )


def _check_strength(draft: Draft, title: str, day: date | None, slug: str = "") -> None:
    if draft.access_code and (reason := find_weakness(draft.access_code, (title, slug), day)):
        raise invalid_field("access_code", reason)


def _check_code(settings: ShopSettings, visibility: Visibility, *, has_code: bool, is_new: bool) -> None:
    if not settings.password_protection and (is_new or visibility is Visibility.PASSWORD):
        name = "visibility" if visibility is Visibility.PASSWORD else "access_code"
        raise invalid_field(name, "This shop has no password-protected registries.")
    if visibility is Visibility.PASSWORD and not has_code:
        raise invalid_field("access_code", "A password-protected registry needs an access_code.")
