"""Lists, lifts and imports the suppressed addresses of a shop, with an audit log record of each change."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from wishcraft.domain.addresses import address_hash, normalise
from wishcraft.domain.mail_events import SuppressionReason
from wishcraft.errors import NotFound, QueryRefused
from wishcraft.resources import Resources
from wishcraft.store import audit_log, suppressions
from wishcraft.store.audit_log import Actor
from wishcraft.store.suppressions import Suppression

IMPORTS: Final = "imports"
"""The folder of FILES_URL in which a file to be imported is put."""
_NAMED_LINES: Final = 5
_REASONS: Final = {reason.value: reason for reason in SuppressionReason}


async def find_suppressions(
    resources: Resources, shop_id: int, reason: SuppressionReason | None = None
) -> list[Suppression]:
    """Return the shop's suppressions, of one reason or all, the newest first."""
    async with resources.db.repeatable_read() as session:
        return await suppressions.find_all(session, shop_id, reason)


async def lift_address(resources: Resources, actor: Actor, address: str) -> None:
    """Let the actor's shop write to the address again, whatever the reason.

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
    """Return the hashes of the addresses that get the registry's mail."""
    async with resources.db.repeatable_read() as session:
        recipients = await suppressions.find_recipients(session, shop_id, registry_id)
    return [address_hash(shop_id, recipient) for recipient in recipients]


async def import_suppressions(
    resources: Resources, actor: Actor, name: str, details: Mapping[str, Any] | None = None
) -> tuple[int, int]:
    """Suppress the addresses of a CSV file in the folder `imports` of FILES_URL, then delete the file.

    Each line has an address and, perhaps, a reason: `bounce` (the default), `complaint` or `unsubscribe`. A first line
    with names of columns is skipped.

    Returns:
        How many addresses the file has, and how many of them were not suppressed before.

    Raises:
        QueryRefused: There is no such file, or a line is not valid; then nothing is imported.
        ConfigurationError: The disk refuses.
    """
    content = resources.files.read(IMPORTS, name)
    if content is None:
        raise QueryRefused(f"there is no file {name} in the folder {IMPORTS} of FILES_URL")
    reasons = _parse(actor.shop_id, content)
    async with resources.db.transaction() as session:
        added = await suppressions.add_all(session, actor.shop_id, reasons)
        more = {"addresses": len(reasons), "added": added, **(details or {})}
        await audit_log.record(session, actor, "mail.suppressions_imported", "shop", str(actor.shop_id), more)
    resources.files.delete_from(IMPORTS, [name])
    return len(reasons), added


def _parse(shop_id: int, content: bytes) -> dict[bytes, SuppressionReason]:
    """The reasons by the hash of the address. An error names lines, and never quotes one."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error):
        raise QueryRefused("the file is no CSV in UTF-8") from None
    found: dict[bytes, SuppressionReason] = {}
    wrong: list[int] = []
    for number, row in enumerate(rows, start=1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and "@" not in cells[0]):
            continue
        address = normalise(cells[0])
        reason = _REASONS.get((cells[1] if len(cells) > 1 else "").lower() or SuppressionReason.BOUNCE.value)
        if address is None or reason is None:
            wrong.append(number)
        else:
            found[address_hash(shop_id, address)] = reason
    if wrong:
        lines = ", ".join(map(str, wrong[:_NAMED_LINES])) + (" and others" if len(wrong) > _NAMED_LINES else "")
        raise QueryRefused(
            f"line {lines}: no address, or a reason other than {', '.join(_REASONS)}. Nothing was imported."
        )
    return found
