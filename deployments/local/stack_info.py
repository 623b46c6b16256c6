"""The board: where a running stack answers, for programs (`board.json`) and for people."""

import json
from collections.abc import Mapping
from typing import Any

from deployments.local.workspace import Workspace


def read_board(workspace: Workspace, environment: Mapping[str, str]) -> dict[str, Any]:
    """What to tell about a stack whose children have this environment, with the shops of its demo data."""
    demo = workspace.folder / "demo.json"
    return {
        "api": f"http://127.0.0.1:{environment['API_PORT']}",
        "prefect_ui": environment["PREFECT_UI_URL"],
        "prefect_api": environment["PREFECT_API_URL"],
        "prefect_password": environment.get("PREFECT_API_AUTH_STRING"),
        "shopify": environment["SHOPIFY_ORIGIN"].removesuffix("/{shop}"),
        "mailbox": environment["MAILBOX_URL"],
        "database_url": environment["DATABASE_URL"],
        "replica_url": environment.get("DATABASE_REPLICA_URL"),
        "redis_url": environment["REDIS_URL"],
        "shopify_api_secret": environment["SHOPIFY_API_SECRET"],
        "shops": json.loads(demo.read_text())["shops"] if demo.exists() else [],
    }


def describe(board: Mapping[str, Any]) -> str:
    """The board for the terminal, with a request that works as pasted."""
    password = board["prefect_password"]
    lines = [
        "",
        "WishCraft is ready.",
        f"  Prefect UI   {board['prefect_ui']}" + ("  (asks for PREFECT_API_AUTH_STRING)" if password else ""),
        f"  API          {board['api']}",
        f"  API docs     {board['api']}/api/docs/ui",
        f"  Shopify      {board['shopify']}  (simulated)",
        f"  Mailbox      {board['mailbox']}  (all mail ends here)",
    ]
    shop = next((shop for shop in board["shops"] if shop["registries"]), None)
    if shop:
        address = f"{board['api']}/api/registries/{shop['registries'][0]}"
        lines += ["  Try          " + f"curl -H 'X-API-Key: {shop['api_key']}' {address}"]
    return "\n".join([*lines, "  Logs         .wishcraft/logs", "  Stop         Ctrl-C", ""])
