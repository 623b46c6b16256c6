"""Lists, lifts and imports the suppressed addresses of a shop, with an audit log record of each change."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from wishcraft.domain.addresses import address_hash, normalise
from wishcraft.domain.mail_suppressions import REASONS_BY_STRENGTH, SuppressionReason
from wishcraft.errors import NotFound, QueryRefused
from wishcraft.resources import Resources
from wishcraft.store import audit_log, suppressions
from wishcraft.store.audit_log import Actor
from wishcraft.store.suppressions import Suppression

IMPORTS: Final = "imports"
"""The folder of FILES_URL in which a file to be imported is put."""
_NAMED_LINES: Final = 5
_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ADDRESS_COLUMNS: Final = ("address_hash", "email", "e-mail", "address", "email_address")
_NAMES: Final = frozenset({*_ADDRESS_COLUMNS, "reason"})
"""A first line with one of these has names: any other one without an address is wrong."""
_REASONS: Final = {reason.value: reason for reason in SuppressionReason}


async def find_suppressions(resources: Resources, shop_id: int, reason: SuppressionReason | None) -> list[Suppression]:
    """Return the shop's suppressions, of one reason or all, the newest first."""
    async with resources.db.repeatable_read() as session:
        return await suppressions.find_all(session, shop_id, reason)


async def lift_address(resources: Resources, actor: Actor, address: str) -> None:
    """Let the actor's shop write to the address again, after any reason.

    Raises:
        NotFound: It is not suppressed.
    """
    hashed = address_hash(actor.shop_id, normalise(address) or address)
    if not await lift_suppressions(resources, actor, [hashed]):
        raise NotFound("This address is not suppressed.")


async def lift_suppressions(
    resources: Resources, actor: Actor, hashes: Sequence[bytes], details: Mapping[str, Any] | None = None
) -> int:
    """Let the actor's shop write to these addresses again; how many were suppressed."""
    async with resources.db.transaction() as session:
        lifted = await suppressions.lift(session, actor.shop_id, hashes)
        for hashed, reason in lifted.items():
            more = {"reason": reason.value, **(details or {})}
            await audit_log.record(session, actor, "mail.suppression_lifted", "address", hashed.hex(), more)
    return len(lifted)


async def find_hashes_of_registry(resources: Resources, shop_id: int, registry_id: int) -> list[bytes]:
    """Return the hashes of the addresses that get the registry's mail.

    Raises:
        QueryRefused: The shop has no such registry.
    """
    async with resources.db.repeatable_read() as session:
        recipients = await suppressions.find_recipients(session, shop_id, registry_id)
    if recipients is None:
        raise QueryRefused(f"the shop has no registry {registry_id}")
    return [address_hash(shop_id, recipient) for recipient in recipients]


async def import_suppressions(
    resources: Resources, actor: Actor, name: str, reason: SuppressionReason | None, details: Mapping[str, Any]
) -> tuple[int, int]:
    """Suppress the addresses of a CSV file in the folder `imports` of FILES_URL, then delete the file.

    Each line has an address, or the hash that an export has of it, and perhaps a reason: `bounce` (the default),
    `complaint` or `unsubscribe`. A first line with names says which columns these are, such as `email` and `reason`;
    else they are the first two. Fields are separated by commas, or by semicolons. Of several reasons of an address, the
    last one in `REASONS_BY_STRENGTH` counts.

    Args:
        resources: The stores.
        actor: The shop, and who imports.
        name: The file's name.
        reason: That of all addresses, instead of the file's.
        details: Further values of the audit log entry.

    Returns:
        How many addresses the file has, and how many of them were not suppressed before.

    Raises:
        QueryRefused: There is no such file, or a line is not valid; then nothing is imported, and the file stays.
        ConfigurationError: The disk refuses.
    """
    content = resources.files.read(IMPORTS, name)
    if content is None:
        raise QueryRefused(f"there is no file {name} in the folder {IMPORTS} of FILES_URL")
    reasons = _parse(actor.shop_id, content, reason)
    async with resources.db.transaction() as session:
        added = await suppressions.add_all(session, actor.shop_id, reasons)
        more = {"addresses": len(reasons), "added": added, **details}
        await audit_log.record(session, actor, "mail.suppressions_imported", "shop", str(actor.shop_id), more)
    resources.files.delete_from(IMPORTS, [name])
    return len(reasons), added


def _parse(shop_id: int, content: bytes, reason: SuppressionReason | None) -> dict[bytes, SuppressionReason]:
    """The reasons by the hash of the address. An error names lines, and never quotes one."""
    found: dict[bytes, SuppressionReason] = {}
    wrong: list[int] = []
    address_at, reason_at = 0, 1
    for number, cells in enumerate(_read_rows(content), start=1):
        names = [cell.lower().replace(" ", "_") for cell in cells]
        if number == 1 and not _NAMES.isdisjoint(names):
            address_at = next((names.index(each) for each in _ADDRESS_COLUMNS if each in names), 0)
            reason_at = names.index("reason") if "reason" in names else len(names)
            continue
        if not any(cells):
            continue
        hashed = _hash(shop_id, cells[address_at] if address_at < len(cells) else "")
        stated = cells[reason_at].lower() if reason_at < len(cells) else ""
        known = reason or _REASONS.get(stated or SuppressionReason.BOUNCE.value)
        if hashed is None or known is None:
            wrong.append(number)
        else:
            found[hashed] = max(known, found.get(hashed, known), key=REASONS_BY_STRENGTH.index)
    if wrong:
        lines = ", ".join(map(str, wrong[:_NAMED_LINES])) + (" and others" if len(wrong) > _NAMED_LINES else "")
        raise QueryRefused(
            f"line {lines}: no address, or a reason other than {', '.join(_REASONS)}. Nothing was imported. The file "
            f"with its addresses stays in {IMPORTS}: correct or delete it."
        )
    return found


def _read_rows(content: bytes) -> list[list[str]]:
    """The cells of each line; an empty line has one empty cell.

    Raises:
        QueryRefused: It is not CSV in UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = ";" if ";" in first and "," not in first else ","
        return [[cell.strip() for cell in row] or [""] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    except (UnicodeDecodeError, csv.Error):
        raise QueryRefused(f"the file is not CSV in UTF-8. It stays in {IMPORTS}: correct or delete it.") from None


def _hash(shop_id: int, cell: str) -> bytes | None:
    """The hash of the address in a cell, or the hash that it has; None if it has neither."""
    if _HASH.fullmatch(cell):
        return bytes.fromhex(cell)
    address = normalise(cell)
    return address_hash(shop_id, address) if address else None
