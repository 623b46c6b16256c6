"""Addresses and keys of the running stack: for programs in `board.json`, for people in the terminal."""

import json
import os
from collections.abc import Mapping
from typing import Any

from deployments.local.workspace import Workspace


def read_stack_info(workspace: Workspace, environment: Mapping[str, str]) -> dict[str, Any]:
    """Addresses and keys of a stack whose processes have this environment, with its demo shops."""
    demo = workspace.demo
    return {
        "start_page": f"http://127.0.0.1:{environment['API_PORT']}/",
        "api": f"http://127.0.0.1:{environment['API_PORT']}",
        "prefect_ui": environment["PREFECT_UI_URL"].removesuffix("/v2"),
        "prefect_api": environment["PREFECT_API_URL"],
        "prefect_password": environment["PREFECT_API_AUTH_STRING"],
        "prefect_password_file": _prefect_password_file(workspace),
        "logs": workspace.shown(workspace.logs),
        "shopify": environment["SHOPIFY_ORIGIN"].removesuffix("/{shop}"),
        "mailbox": environment["MAILBOX_URL"],
        "mail_providers": {name: f"{environment['MAILBOX_URL']}/{name}" for name in ("ses", "sendgrid")},
        "monitoring": environment.get("MONITORING_URL"),
        "database_url": environment["DATABASE_URL"],
        "replica_url": environment.get("DATABASE_REPLICA_URL"),
        "redis_url": environment["REDIS_URL"],
        "shopify_api_secret": environment["SHOPIFY_API_SECRET"],
        "shops": json.loads(demo.read_text())["shops"] if demo.exists() else [],
    }


def _prefect_password_file(workspace: Workspace) -> str | None:
    """The file with the login of Prefect; None if the variable PREFECT_API_AUTH_STRING has it."""
    if os.environ.get("PREFECT_API_AUTH_STRING"):
        return None
    return workspace.shown(workspace.prefect_password_file)


def describe(info: Mapping[str, Any]) -> str:
    """The text for the terminal, with an example request; it names what holds the login of Prefect."""
    login = info["prefect_password_file"] or "PREFECT_API_AUTH_STRING"
    lines = [
        "",
        "WishCraft is ready.",
        f"  Start here   {info['start_page']}  (what runs, what to try, keys to copy)",
        f"  Prefect UI   {info['prefect_ui']}  (log in once with the text of {login})",
        f"  API          {info['api']}",
        f"  API docs     {info['api']}/api/docs/ui",
        f"  Shopify      {info['shopify']}  (simulated)",
        f"  Mailbox      {info['mailbox']}  (shows all mail)",
    ]
    if info["monitoring"]:
        lines += [f"  Monitoring   {info['monitoring']}  (dashboard and alerts of Prometheus)"]
    shop = next((shop for shop in info["shops"] if shop["registries"]), None)
    if shop:
        address = f"{info['api']}/api/registries/{shop['registries'][0]}"
        lines += ["  Try          " + f"curl -H 'X-API-Key: {shop['api_key']}' {address}"]
    return "\n".join([*lines, f"  Logs         {info['logs']}", "  Stop         Ctrl-C", ""])
