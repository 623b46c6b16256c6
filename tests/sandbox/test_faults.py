"""Faults of Shopify, of the mail server and of the mail providers: one name and one set of defaults."""

import re
from pathlib import Path

import httpx
import pytest

from api.json_bodies import NOT_JSON
from deployments.sandbox.mail_providers.faults import ProviderFault, ProviderFaultKind
from deployments.sandbox.mail_providers.provider import ProviderFaultSetting
from deployments.sandbox.mailbox.app import FaultSetting as MailFaultSetting
from deployments.sandbox.mailbox.app import create_app as create_mailbox
from deployments.sandbox.mailbox.messages import Fault as MailFault
from deployments.sandbox.mailbox.messages import FaultKind as MailFaultKind
from deployments.sandbox.shopify.app import create_app as create_simulator
from deployments.sandbox.shopify.control import FaultSetting as ShopifyFaultSetting
from deployments.sandbox.shopify.faults import Fault as ShopifyFault
from deployments.sandbox.shopify.faults import FaultKind as ShopifyFaultKind

FAULTS, ORDERS = "/maple-and-pine.myshopify.com/faults", "/maple-and-pine.myshopify.com/orders"
JSON = "application/json"
DOCS = Path(__file__).parents[2] / "docs/sandbox.md"
SERVERS = {"Shopify": ShopifyFaultKind, "mail server": MailFaultKind, "providers": ProviderFaultKind}


def test_faults_of_all_servers_stay_by_default_until_they_are_removed() -> None:
    faults = (
        ShopifyFault(ShopifyFaultKind.HANG),
        MailFault(MailFaultKind.HANG),
        ProviderFault(ProviderFaultKind.HANG),
        ShopifyFaultSetting(kind=ShopifyFaultKind.HANG),
        MailFaultSetting(kind=MailFaultKind.HANG),
        ProviderFaultSetting(kind=ProviderFaultKind.HANG),
    )
    assert [fault.remaining for fault in faults] == [None] * 6


@pytest.mark.parametrize(
    ("path", "content", "kind", "answer"),
    [
        (FAULTS, '{"kind": "throttle", "probability": 0}', JSON, (422, "body.probability: must be more than 0.0")),
        (FAULTS, '{"kind": "throttle", "x": 1}', JSON,
         (422, "body.x: is unknown. Known are kind, remaining, probability")),
        (FAULTS, "kind=throttle", "application/x-www-form-urlencoded", (415, NOT_JSON)),
        (ORDERS, '{"lines": [{"variant_id": 1}], "currency": "XXX"}', JSON,
         (422, "body.currency: must be one of USD, EUR, JPY")),
        ("/faults", '{"kind": "hang", "remaining": -1}', JSON, (422, "body.remaining: must be 0 or more")),
        ("/ses/faults", "[]", JSON, (422, 'body: must be a JSON object, such as {"name": "value"}')),
        ("/sendgrid/faults", '{"address": "a"}', JSON, (422, "body.kind: is missing")),
    ],
)  # fmt: skip
async def test_wrong_body_is_answered_in_the_words_of_the_api(
    path: str, content: str, kind: str, answer: tuple[int, str]
) -> None:
    app = create_simulator() if "myshopify" in path else create_mailbox()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        method = "POST" if path == ORDERS else "PUT"
        answered = await client.request(method, path, content=content, headers={"Content-Type": kind})
    assert (answered.status_code, answered.json()) == (answer[0], {"detail": answer[1]})


def test_docs_say_which_servers_have_the_common_faults() -> None:
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| .+ \| (all|[A-Za-z, ]+) \|$", DOCS.read_text(), re.MULTILINE)
    documented = {
        kind: set(SERVERS) if at == "all" else set(at.split(", "))
        for kinds, at in rows
        for kind in re.findall(r"`(\w+)`", kinds)
    }
    found = {
        kind: {server for server, kinds in SERVERS.items() if kind in list(kinds)}
        for kind in {kind.value for kinds in SERVERS.values() for kind in kinds}
    }
    assert documented == {kind: servers for kind, servers in found.items() if len(servers) > 1}
