"""The job `mail-suppressions`."""

from typing import Annotated, Final, Literal

from prefect import State
from pydantic import Field, StringConstraints

from flows.runtime.job import job
from flows.runtime.publish import publish
from tasks.mail_suppressions import import_file, lift, list_suppressed
from wishcraft.domain.ids import LARGEST_ID
from wishcraft.domain.mail_suppressions import SuppressionReason
from wishcraft.domain.text_forms import ADDRESS_HASH
from wishcraft.errors import QueryRefused
from wishcraft.files import is_name

Hash = Annotated[str, StringConstraints(pattern=ADDRESS_HASH)]
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
MOST_LIFTED: Final = 500


@job("mail-suppressions")
async def mail_suppressions(
    shop: str,
    action: Literal["list", "lift", "export", "import"] = "list",
    reason: SuppressionReason | None = None,
    hashes: Annotated[list[Hash], Field(max_length=MOST_LIFTED)] | None = None,
    registry: Id | None = None,
    file: str | None = None,
) -> State[None]:
    """List the addresses to which a shop sends no mail, lift some, or export or import them. Shows no address.

    Args:
        shop: Domain of the shop, such as maple-and-pine.myshopify.com.
        action: list them, lift some, export all to a CSV file of hashes, or import a CSV file of addresses or hashes.
        reason: Only those suppressed for this reason, to list or to export; or the reason of all that are imported.
        hashes: Hashes of addresses to lift, as the list shows them.
        registry: Id of a registry: lift the addresses that get its mail.
        file: Name of a file to import, in the folder imports of FILES_URL. It is deleted afterwards.
    """
    name = (file or "").strip()
    if (action == "lift") != bool(hashes or registry):
        raise QueryRefused("lift needs hashes or a registry, and other actions need none")
    if (action == "import") != bool(name) or (name and not is_name(name)):
        raise QueryRefused("import needs the name of a file in the folder imports of FILES_URL, and other actions none")
    if action == "lift":
        page = await lift(shop, hashes or [], registry)
    elif action == "import":
        page = await import_file(shop, name, reason)
    else:
        page = await list_suppressed(shop, reason, export=action == "export")
    return await publish("mail-suppressions", page)
