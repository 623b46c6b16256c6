"""Makes URLs of the API as Shopify's app proxy signs them, to try out what a theme calls."""

import json
import time

from deployments.local.workspace import Workspace
from deployments.sandbox.shopify.app_proxy import ProxiedRequest, signed_query
from wishcraft.errors import ConfigurationError


def signed_url(workspace: Workspace, path: str, shop: str | None, customer_id: int | None) -> str:
    """The URL of a path below `/api`, with its query, in a shop of the running stack (the first by default).

    It is valid for five minutes for a request that reads, and for 90 seconds for one that changes something.

    Raises:
        ConfigurationError: No stack runs, or it has no such shop.
    """
    try:
        stack = json.loads(workspace.stack_info.read_text())
    except FileNotFoundError:
        raise ConfigurationError(
            f"no stack runs, or it is not ready yet: start it with `{workspace.command('up')}`"
        ) from None
    domains: list[str] = [each["domain"] for each in stack["shops"]]
    chosen = shop or domains[0]
    if chosen not in domains:
        raise ConfigurationError(f"there is no shop {chosen}: choose one of {', '.join(domains)}")
    path, _, query = path.lstrip("/").removeprefix("api/").partition("?")
    request = ProxiedRequest("GET", path, query, customer_id=customer_id)
    return f"{stack['api']}/api/{path}?{signed_query(chosen, request, stack['shopify_api_secret'], time.time())}"
