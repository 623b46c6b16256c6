"""The job `mail-domains`, over a real DNS server."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import pytest
from prefect import State
from psycopg.types.json import Jsonb

from deployments.sandbox.mailbox import DOMAIN, SHOP_DOMAIN
from deployments.sandbox.mailbox.dns import local_records, start_dns_server
from flows.mail_domains import mail_domains
from tests.support.aliases import Demo
from wishcraft.domain.mail_domains import CheckedRecord, RecordState
from wishcraft.errors import ConfigurationError, DnsUnavailable
from wishcraft.mail.dns_client import DnsClient
from wishcraft.resources import Resources
from wishcraft.services.mail_domains.check import check_domain, check_senders_of_shops
from wishcraft.settings import settings

Serve = Callable[[Mapping[str, list[str]]], Any]
LONG: Final = "v=spf1 " + " ".join(f"ip4:192.0.2.{n}" for n in range(40)) + " -all"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start DNS servers with these records; returns a client of each."""
    transports = []

    async def start(records: Mapping[str, list[str]]) -> DnsClient:
        transports.append(await start_dns_server(records))
        return DnsClient(f"127.0.0.1:{transports[-1].get_extra_info('sockname')[1]}")

    yield start
    for transport in transports:
        transport.close()


def states(checked: list[CheckedRecord]) -> list[tuple[str, str]]:
    return [(each.kind, each.state.value) for each in checked]


async def test_domain_of_the_local_stack_lacks_a_policy_alone(serve: Serve) -> None:
    checked = await check_domain(await serve(local_records()), DOMAIN, ["local", "other"], None)
    assert states(checked) == [("SPF", "ok"), ("DKIM", "ok"), ("DKIM", "missing"), ("DMARC", "weak")]


async def test_record_in_several_strings_is_read_as_one(serve: Serve) -> None:
    assert await (await serve({"a.example": [LONG]})).texts("a.example") == [LONG]


async def test_included_records_count_also_if_they_include_each_other(serve: Serve) -> None:
    loop = {f"{name}.example": [f"v=spf1 include:{other}.example mx -all"] for name, other in ("ab", "bc", "ca")}
    [spf, *_] = await check_domain(await serve(loop), "a.example", [], None)
    assert spf.detail == "ends with -all, 8 DNS lookups"
    chain = {f"n{n}.example": [f"v=spf1 include:n{n + 1}.example -all"] for n in range(40)}
    [spf, *_] = await check_domain(await serve(chain), "n0.example", [], None)
    assert spf.state is RecordState.WRONG


async def test_policy_of_a_parent_domain_is_found(serve: Serve) -> None:
    dns = await serve({"_dmarc.example.com": ["v=DMARC1; p=reject"]})
    *_, dmarc = await check_domain(dns, "mail.example.com", [], None)
    assert (dmarc.name, dmarc.state) == ("_dmarc.example.com", RecordState.OK)


async def test_parent_domain_may_have_another_policy_for_its_subdomains(serve: Serve) -> None:
    dns = await serve({"_dmarc.example.com": ["v=DMARC1; p=reject; sp=none"]})
    for domain, state in (("example.com", RecordState.OK), ("mail.example.com", RecordState.WEAK)):
        *_, dmarc = await check_domain(dns, domain, [], None)
        assert (dmarc.name, dmarc.state) == ("_dmarc.example.com", state)


async def test_dns_server_that_does_not_answer_is_no_missing_record() -> None:
    with pytest.raises(DnsUnavailable, match=r"no DNS server answered for a\.example"):
        await DnsClient("127.0.0.1:1", seconds=0.2).texts("a.example")


@pytest.mark.parametrize("server", ["", "dns.example", "127.0.0.1:dns", "127.0.0.1:99999"])
def test_malformed_address_of_a_dns_server_is_refused(server: str) -> None:
    with pytest.raises(ConfigurationError, match="DNS_SERVER"):
        DnsClient(server)


@pytest.mark.usefixtures("prefect_server", "worker_environment")
async def test_run_says_what_to_mend_and_refuses_what_is_no_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = await start_dns_server(local_records())
    monkeypatch.setenv("DNS_SERVER", f"127.0.0.1:{transport.get_extra_info('sockname')[1]}")
    monkeypatch.setenv("DKIM_SELECTORS", "local, other")

    async def run(**parameters: Any) -> State[Any]:
        return await mail_domains(**parameters, return_state=True)

    try:
        done = await run(domains=[f" {DOMAIN.upper()}. "])
        assert done.type.value == "COMPLETED"
        assert done.message == (
            f"{DOMAIN}: 2 of 4 records to be mended: DKIM of other._domainkey.{DOMAIN} is missing;"
            f" DMARC of _dmarc.{DOMAIN} is weak."
        )
        for parameters in ({"domains": ["no domain"]}, {"domains": [DOMAIN], "selectors": ["a b"]}):
            refused = await run(**parameters)
            assert refused.name == "Refused", refused
        monkeypatch.setenv("MAIL_FROM", "post@bücher.example")
        settings.cache_clear()
        beyond_ascii = await run(selectors=["local"])
        assert beyond_ascii.message
        assert beyond_ascii.message.startswith("xn--bcher-kva.example: ")
    finally:
        transport.close()


@pytest.mark.usefixtures("prefect_server", "worker_environment")
async def test_shop_may_send_from_a_domain_that_names_it_and_from_no_other(
    monkeypatch: pytest.MonkeyPatch, demo: Demo
) -> None:
    transport = await start_dns_server(local_records())
    monkeypatch.setenv("DNS_SERVER", f"127.0.0.1:{transport.get_extra_info('sockname')[1]}")
    monkeypatch.setenv("DKIM_SELECTORS", "local")
    own = Jsonb({"mail_from": f"gifts@{SHOP_DOMAIN.title()}"})
    demo.execute("UPDATE shops SET settings = %s WHERE id IN (1, 2)", [own])
    demo.execute("UPDATE shops SET verified_mail_domain = 'before.example'")

    def verified() -> list[tuple[Any, ...]]:
        return demo.execute("SELECT id, verified_mail_domain FROM shops ORDER BY id").fetchall()

    try:
        only_shown = await mail_domains(selectors=["local"], return_state=True)
        assert only_shown.type.value == "COMPLETED"
        assert verified() == [(number, "before.example") for number in (1, 2, 3)]
        done = await mail_domains(return_state=True)
    finally:
        transport.close()
    assert verified() == [(1, SHOP_DOMAIN), (2, None), (3, None)]
    assert f"Owner of _wishcraft.{SHOP_DOMAIN} is wrong" in str(done.message)


async def test_domain_whose_name_servers_do_not_answer_keeps_no_other_from_a_check(
    serve: Serve, demo: Demo, resources: Resources
) -> None:
    dns = await serve(local_records())

    class Lame(DnsClient):
        async def texts(self, name: str) -> list[str]:
            if name.endswith("lame.example"):
                raise DnsUnavailable(name)
            found: list[str] = await dns.texts(name)
            return found

    for shop_id, domain in ((1, SHOP_DOMAIN), (2, "lame.example")):
        own = Jsonb({"mail_from": f"gifts@{domain}"})
        demo.execute("UPDATE shops SET settings = %s WHERE id = %s", [own, shop_id])
    demo.execute("UPDATE shops SET verified_mail_domain = 'before.example'")
    checked = await check_senders_of_shops(resources, Lame("127.0.0.1:1"), ["local"])
    assert [each.detail for each in checked["lame.example"]] == ["no name server answers"]
    rows = demo.execute("SELECT id, verified_mail_domain FROM shops ORDER BY id").fetchall()
    assert rows == [(1, SHOP_DOMAIN), (2, "before.example"), (3, None)]


@pytest.mark.usefixtures("prefect_server", "worker_environment")
async def test_verified_domain_stays_so_while_dns_does_not_answer(demo: Demo, resources: Resources) -> None:
    own = Jsonb({"mail_from": f"gifts@{SHOP_DOMAIN}"})
    demo.execute("UPDATE shops SET settings = %s, verified_mail_domain = %s", [own, SHOP_DOMAIN])
    with pytest.raises(DnsUnavailable):
        await check_senders_of_shops(resources, DnsClient("127.0.0.1:1", seconds=0.2), ["local"])
    assert demo.execute("SELECT DISTINCT verified_mail_domain FROM shops").fetchall() == [(SHOP_DOMAIN,)]
