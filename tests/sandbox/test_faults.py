"""Faults of Shopify, of the mail server and of the mail providers: one name and one set of defaults."""

import re
from pathlib import Path

from deployments.sandbox.mail_providers.faults import ProviderFault, ProviderFaultKind
from deployments.sandbox.mail_providers.provider import ProviderFaultSetting
from deployments.sandbox.mailbox.app import FaultSetting as MailFaultSetting
from deployments.sandbox.mailbox.messages import Fault as MailFault
from deployments.sandbox.mailbox.messages import FaultKind as MailFaultKind
from deployments.sandbox.shopify.control import FaultSetting as ShopifyFaultSetting
from deployments.sandbox.shopify.faults import Fault as ShopifyFault
from deployments.sandbox.shopify.faults import FaultKind as ShopifyFaultKind

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
