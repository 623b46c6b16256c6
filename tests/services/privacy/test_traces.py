"""No dump, key, file or export has a trace of an erased person. New places for personal data are to be planted here."""

import subprocess
from pathlib import Path
from typing import Final

import pytest
from psycopg.sql import SQL, Identifier
from redis.asyncio import Redis

from deployments.sandbox.postgres import _binary
from tests.support.aliases import Demo
from tests.support.dump import dump as dump_tables
from tests.support.erased_person import CUSTOMER, EMAIL, GUEST_ORDER, NAMES, REDACT, handle, receive, redact
from tests.support.residual_data import patterns_of, traces_in_redis
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.analytics.tables import TABLES
from wishcraft.cache import keys
from wishcraft.domain.addresses import address_hash, normalise
from wishcraft.domain.people import make_person
from wishcraft.domain.webhooks import DATA_REQUEST
from wishcraft.reports.export import export_table
from wishcraft.resources import Resources
from wishcraft.services.privacy.erase import NO_LIMIT
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.store import people

pytestmark = pytest.mark.usefixtures("worker_environment")
PERSONAL: Final = {
    "audit_logs": "actor metadata user_agent",
    "counted_invitations": "customer_id",
    "idempotency_keys": "caller created",
    "invitations": "recipient",
    "merged_customers": "deleted_id kept_id",
    "purchases": "gift_message purchaser_email purchaser_id purchaser_name",
    "registries": "co_registrants customer_email customer_first_name customer_id customer_last_name description"
    " event_location search_text slug title",
    "registry_items": "notes",
    "reminders": "recipient",
    "sessions": "subject",
    "unmatched_lines": "claim gift_message purchaser_email purchaser_id purchaser_name",
    "webhook_events": "payload",
}
"""The columns that name the person before the redaction."""
IMPERSONAL: Final = {
    "alembic_version": "version_num",
    "analytics_events": "type visitor_id data",
    "api_keys": "name prefix key_hash scopes ip_allow_list successor",
    "audit_logs": "action resource resource_id ip",
    "counted_invitations": "mailbox_hash",
    "deleted_mails": "kind address_hash",
    "email_suppressions": "address_hash reason",
    "idempotency_keys": "key request_hash",
    "invitations": "token_hash answer state last_error message_id provider outcome",
    "locks": "name",
    "orders": "adjustments judged",
    "pending_invalidations": "slug grants",
    "purchases": "order_name status",
    "registries": "event_type visibility access_code_hash status",
    "registry_items": "handle product_title variant_title image priority currency inventory_policy status attribution",
    "reminders": "kind state last_error message_id provider outcome",
    "service_minutes": "latencies",
    "sessions": "id kind",
    "shops": "domain name email currency timezone plan status settings access_token_encrypted refresh_token_encrypted"
    " verified_mail_domain",
    "unmatched_lines": "order_name product_title status reason",
    "webhook_events": "shop_domain webhook_id event_id topic api_version outcome failures signature",
}
"""Other columns with texts, documents or bytes: what they have is of the shop or the app, or a hash or a random id."""
PERSONAL_KEYS: Final = {"entry", "index", "sizes", "session"}
"""The kinds of keys of Redis that name the person or their registry before the redaction."""
FLEETING_KEYS: Final = {"limit", "marks", "written", "lease"}
"""As `PERSONAL_KEYS`, but they may have expired before."""
IMPERSONAL_KEYS: Final = {
    "usage", "product", "products", "product-sizes", "counters", "once", "bulk", "era", "stream", "queued",
}  # fmt: skip
_COLUMNS: Final = """
SELECT c.relname::text, a.attname::text, t.typcategory IN ('S', 'U', 'A', 'I')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
"""


def of(listed: dict[str, str]) -> set[tuple[str, str]]:
    return {(table, column) for table, columns in listed.items() for column in columns.split()}


def columns_with(demo: Demo, *names: object) -> set[tuple[str, str]]:
    """The columns of any table that have one of these, in any spelling."""
    tables = {table for table, *_ in demo.execute(_COLUMNS)}
    query = "SELECT DISTINCT c.key FROM {} t, jsonb_each_text(to_jsonb(t)) c WHERE c.value ILIKE ANY(%s)"
    return {
        (table, column)
        for table in tables
        for (column,) in demo.execute(SQL(query).format(Identifier(table)), [patterns_of(*names)])
    }


def dump(database_url: str) -> str:
    """The dump of all data by `pg_dump`, in small letters."""
    command = (_binary("pg_dump"), "--data-only", "--dbname", database_url.replace("+psycopg", ""))
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.lower()  # noqa: S603  ours


def found_in(text: str, *names: object) -> list[str]:
    return [each for each in patterns_of(*names) if each.strip("%").lower() in text]


@pytest.fixture
async def everywhere(demo: Demo, resources: Resources, planted: str) -> str:
    """As `planted`, also in what no request of an API fills; the slug of the person's registry."""
    demo.execute(
        "INSERT INTO merged_customers VALUES (1, %(former)s, %(id)s), (1, %(id)s, %(later)s)",
        {"id": CUSTOMER, "former": CUSTOMER - 1, "later": CUSTOMER + 1},
    )
    demo.execute(
        "INSERT INTO counted_invitations (shop_id, customer_id, mailbox_hash, expires_at) VALUES (1, %s, '', now())",
        [CUSTOMER],
    )
    demo.execute(
        """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, metadata)
           VALUES (1, 'server:1', 'item.added', 'registry', '1', jsonb_build_object('customer', %s::text))""",
        [CUSTOMER],
    )
    demo.execute(
        """INSERT INTO audit_logs (shop_id, actor, action, resource, resource_id, user_agent)
           SELECT 1, 'invitation link', 'invitation.confirmed', 'registry', registry_id::text, 'Quorblatt''s phone'
           FROM invitations WHERE recipient LIKE 'zyxwina%'"""
    )
    await redact(demo, resources, REDACT | {"orders_requested": [GUEST_ORDER]}, DATA_REQUEST)
    return planted


async def test_no_dump_key_file_or_export_has_a_trace_of_an_erased_person(
    demo: Demo, resources: Resources, redis: Redis, analysts: AnalystsDatabase, everywhere: str, database_url: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    names = (everywhere, *NAMES)
    assert columns_with(demo, *names) == of(PERSONAL)
    assert found_in(dump(database_url), *names)
    kinds = {keys.kind_of(key.encode()) for key in await traces_in_redis(redis, *names)}
    assert PERSONAL_KEYS <= kinds <= PERSONAL_KEYS | FLEETING_KEYS
    for table in TABLES:
        export_table(analysts, table, ReportFilter(), tmp_path / f"{table}.csv")
    assert len(files_with(tmp_path, *names)) == 1  # what was handed over, and no export
    await redact(demo, resources)
    await handle(resources, demo)
    assert columns_with(demo, *names) == set()
    assert found_in(dump(database_url), *names) == []
    assert await traces_in_redis(redis, *names) == []
    assert files_with(tmp_path, *names[:-1]) == []  # the journal has the customer's id


def files_with(folder: Path, *names: object) -> list[Path]:
    return [
        file for file in folder.rglob("*") if file.is_file() and found_in(f"{file} {file.read_text()}".lower(), *names)
    ]


def test_each_column_and_key_is_known_to_be_personal_or_not(demo: Demo) -> None:
    telling = {(table, column) for table, column, is_telling in demo.execute(_COLUMNS) if is_telling}
    assert telling - of(IMPERSONAL) <= of(PERSONAL), "plant the person in these, or list them in IMPERSONAL"
    assert of(IMPERSONAL) <= telling
    assert keys.KINDS == PERSONAL_KEYS | FLEETING_KEYS | IMPERSONAL_KEYS


def test_each_number_of_a_customer_is_known_to_be_personal(demo: Demo) -> None:
    numbers = {(table, column) for table, column, is_telling in demo.execute(_COLUMNS) if not is_telling}
    ids = {each for each in numbers if each[1].endswith(("customer_id", "purchaser_id", "deleted_id", "kept_id"))}
    assert ids <= of(PERSONAL)


async def test_mails_of_deleted_registries_forget_the_address_of_the_person_alone(
    demo: Demo, resources: Resources
) -> None:
    others = address_hash(1, "emma@example.com")
    for number, hashed in enumerate((address_hash(1, normalise(EMAIL) or ""), others)):
        demo.execute("INSERT INTO deleted_mails VALUES (1, 'r', %s, %s, now() + interval '1 day')", [number, hashed])
    await redact(demo, resources)
    assert demo.execute("SELECT address_hash FROM deleted_mails").fetchall() == [(others,)]


async def test_same_customer_of_another_shop_stays(demo: Demo, resources: Resources, planted: str) -> None:
    """Also if Shopify gave both shops the same ids."""
    demo.execute("INSERT INTO merged_customers (shop_id, deleted_id, kept_id) VALUES (1, 5, %s)", [CUSTOMER])
    demo.execute("INSERT INTO counted_invitations VALUES (DEFAULT, 1, %s, '', now() + interval '1 day')", [CUSTOMER])
    before = {name: rows for name, rows in dump_tables(demo).items() if name not in {"webhook_events", "audit_logs"}}
    entries = "SELECT * FROM audit_logs WHERE shop_id = 1 ORDER BY id"
    audit_log = demo.execute(entries).fetchall()
    [domain] = demo.execute("SELECT domain FROM shops WHERE id = 2").fetchone() or [""]
    row_id = receive(demo, "customers/redact", REDACT | {"shop_id": 2, "shop_domain": domain}, shop_domain=domain)
    assert await process(resources, HANDLERS, domain, [row_id]) == {"applied": 1}
    after = dump_tables(demo)
    assert [name for name, rows in before.items() if after[name] != rows] == []
    assert demo.execute(entries).fetchall() == audit_log
    person = make_person(2, {CUSTOMER}, {GUEST_ORDER}, EMAIL, None)
    async with resources.db.repeatable_read() as session:
        assert not any((await people.collect(session, 2, person, NO_LIMIT)).values())
