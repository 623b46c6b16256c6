"""Clients of a process, and what they share."""

from wishcraft.resources import open_resources
from wishcraft.settings import Settings


async def test_list_of_trusted_authorities_is_read_once_for_all_clients_of_a_process(settings: Settings) -> None:
    async with open_resources(settings) as first, open_resources(settings) as second:
        contexts = {client._transport._pool._ssl_context for client in (first.http, second.http)}  # type: ignore[attr-defined]
    assert len(contexts) == 1
