import asyncio
import time
from collections.abc import Callable

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api.schemas.admin import KeyIssued, KeyList, UsageAnswer
from tests.support.aliases import Demo, OpenClient
from tests.support.api import SHOP, Shopper, app_state_of, called_from, problem
from tests.support.waiting import WAITING, wait_until
from wishcraft.settings import Settings

KEYS = "/api/admin/keys"
LIST = "/api/registries"
NEW = {"name": "our web shop", "scopes": ["read"]}


@pytest.fixture
def merchant(token: Callable[..., dict[str, str]]) -> dict[str, str]:
    """The headers of the merchant of `SHOP`."""
    return token()


async def create(client: httpx.AsyncClient, merchant: dict[str, str], **values: object) -> KeyIssued:
    """A new key of the shop."""
    answer = await client.post(KEYS, json=NEW | values, headers=merchant)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return KeyIssued.model_validate_json(answer.content)


async def status(client: httpx.AsyncClient, key: str, **headers: str) -> int:
    """Status of a read with the key."""
    return (await client.get(LIST, headers={"X-API-Key": key, **headers})).status_code


async def test_created_key_is_shown_once(client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo) -> None:
    issued = await create(client, merchant, days=90)
    assert issued.key.startswith(f"wc_{issued.prefix}_")
    assert (issued.name, issued.scopes, issued.ip_allow_list) == ("our web shop", ["read"], [])
    assert issued.expires_at
    assert (issued.expires_at - issued.created_at).days in {89, 90}
    assert await status(client, issued.key) == 200
    listed = await client.get(KEYS, headers=merchant)
    shown = KeyList.model_validate_json(listed.content).keys
    assert [each.prefix for each in shown] == [issued.prefix]
    secret = issued.key.rpartition("_")[2]
    assert secret not in listed.text
    for table in ("api_keys", "audit_logs"):
        assert secret not in str(demo.execute(f"SELECT to_jsonb(t)::text FROM {table} t").fetchall())  # noqa: S608  ours


@pytest.mark.parametrize(
    "values",
    [
        {"scopes": []}, {"scopes": ["everything"]}, {"name": ""}, {"name": " \t"}, {"days": 0}, {"shop_id": 2},
        {"ip_allow_list": [""]}, {"ip_allow_list": ["10.0.0.0/8, 0.0.0.0/0"]}, {"ip_allow_list": ["10.0.0.1/8"]},
        {"ip_allow_list": ["fe80::1%eth0"]}, {"ip_allow_list": ["everywhere"]}, {"ip_allow_list": ["10.0.0.1"] * 51},
    ],
)  # fmt: skip
async def test_invalid_new_key_is_refused(
    client: httpx.AsyncClient, merchant: dict[str, str], values: dict[str, object]
) -> None:
    assert problem(await client.post(KEYS, json=NEW | values, headers=merchant)) == (422, "invalid-request")


async def test_only_a_current_id_token_for_this_app_opens_the_admin(
    client: httpx.AsyncClient, token: Callable[..., dict[str, str]]
) -> None:
    now = int(time.time())
    assert (await client.get(KEYS, headers=token())).status_code == 200
    refused = {
        "another app": token(aud="another-app"), "no app": token(aud=None), "expired": token(exp=now - 60),
        "never expires": token(exp=None), "not yet": token(nbf=now + 60), "no begin": token(nbf=None),
        "another's secret": token(secret="x" * 32), "unsigned": token(algorithm="none"), "nobody": token(sub=None),
        "a customer, of an extension": token(sub="gid://shopify/Customer/7"),
        "no shop": token(dest=None),
        "no shop of Shopify's": token(dest="https://maple-and-pine.example"), "not https": token(dest=f"http://{SHOP}"),
        "a path": token(dest=f"https://{SHOP}/admin"), "nonsense": {"Authorization": "Bearer x.y.z"},
        "empty": {"Authorization": "Bearer"}, "not ASCII": {"Authorization": "Bearer \xfc.\xfc.\xfc"},
    }  # fmt: skip
    for what, headers in refused.items():
        sent = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
        assert problem(await client.get(KEYS, headers=sent)) == (401, "unauthorized"), what
    of_no_shop = token(dest="https://nobody.myshopify.com")
    assert problem(await client.get(KEYS, headers=of_no_shop)) == (401, "shop-not-installed")


async def test_id_token_signed_with_the_previous_secret_is_accepted(
    settings: Settings, open_client: OpenClient, demo: Demo, token: Callable[..., dict[str, str]]
) -> None:
    old, new = settings.shopify_api_secret.get_secret_value(), "n" * 32
    rotating = {"shopify_api_secret": SecretStr(new), "shopify_api_secret_previous": SecretStr(old)}
    async with open_client(settings.model_copy(update=rotating)) as client:
        assert (await client.get(KEYS, headers=token(secret=old))).status_code == 200
        assert (await client.get(KEYS, headers=token(secret=new))).status_code == 200
        assert (await client.get(KEYS, headers=token(secret="o" * 32))).status_code == 401


async def test_id_token_of_one_shop_shows_nothing_of_another(
    client: httpx.AsyncClient, token: Callable[..., dict[str, str]], merchant: dict[str, str]
) -> None:
    issued = await create(client, merchant)
    others = token(dest="https://lumiere-maison.myshopify.com")
    assert (await client.get(KEYS, headers=others)).json() == {"keys": []}
    for method, path in (("POST", f"{KEYS}/{issued.prefix}/rotate"), ("DELETE", f"{KEYS}/{issued.prefix}")):
        assert problem(await client.request(method, path, headers=others)) == (404, "not-found")
    assert await status(client, issued.key) == 200


async def test_id_token_takes_precedence_over_a_key(client: httpx.AsyncClient, merchant: dict[str, str]) -> None:
    issued = await create(client, merchant, scopes=["read", "write", "admin"])
    for path in (KEYS, LIST):
        answer = await client.get(path, headers={"X-API-Key": issued.key, "Authorization": "Bearer x.y.z"})
        assert problem(answer) == (401, "unauthorized")


async def test_rotation_keeps_both_keys_valid_during_the_grace_period(
    client: httpx.AsyncClient, settings: Settings, open_client: OpenClient, merchant: dict[str, str], demo: Demo
) -> None:
    old = await create(client, merchant, scopes=["write", "read"], ip_allow_list=["127.0.0.0/8"], days=10)
    answer = await client.post(f"{KEYS}/{old.prefix}/rotate", json={"grace_hours": 2}, headers=merchant)
    assert answer.status_code == 201
    new = KeyIssued.model_validate_json(answer.content)
    assert new.key != old.key
    assert (new.name, new.scopes, new.ip_allow_list) == (old.name, old.scopes, old.ip_allow_list)
    assert [await status(client, each.key) for each in (old, new)] == [200, 200]
    shown = {each.prefix: each for each in KeyList.model_validate_json(
        (await client.get(KEYS, headers=merchant)).content
    ).keys}  # fmt: skip
    ends = shown[old.prefix].expires_at
    assert ends
    assert abs((ends - new.created_at).total_seconds() - 7200) < 60
    demo.execute("UPDATE api_keys SET expires_at = now() WHERE prefix = %s", [old.prefix])
    async with open_client(settings) as another_process:
        assert [await status(another_process, each.key) for each in (old, new)] == [401, 200]
    again = await client.post(f"{KEYS}/{old.prefix}/rotate", headers=merchant)
    assert problem(again) == (409, "conflict")


async def test_key_without_expiry_is_rotated_with_a_day_of_grace(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo
) -> None:
    old = await create(client, merchant)
    new = await client.post(f"{KEYS}/{old.prefix}/rotate", headers=merchant)
    assert (new.status_code, new.json()["expires_at"]) == (201, None)
    left = demo.execute("SELECT round(extract(epoch FROM expires_at - now()) / 60) FROM api_keys WHERE prefix = %s",
                        [old.prefix]).fetchone()  # fmt: skip
    assert left == (24 * 60,)


async def test_replaced_key_is_not_rotated_again_and_its_successor_keeps_the_lifetime(
    client: httpx.AsyncClient, merchant: dict[str, str]
) -> None:
    old = await create(client, merchant, scopes=["admin"])
    new = (await client.post(f"{KEYS}/{old.prefix}/rotate", headers=merchant)).json()
    for headers in (merchant, {"X-API-Key": old.key}):
        again = await client.post(f"{KEYS}/{old.prefix}/rotate", headers=headers)
        assert problem(again) == (409, "conflict")
        assert new["prefix"] in again.json()["detail"]
        assert ("an administrator" in again.json()["detail"]) is ("X-API-Key" in headers)
    newest = await client.post(f"{KEYS}/{new['prefix']}/rotate", headers=merchant)
    assert (newest.status_code, newest.json()["expires_at"]) == (201, None)


@pytest.mark.parametrize("ended", ["revoked_at", "expires_at"])
async def test_ended_key_that_a_process_still_accepts_changes_nothing(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo, ended: str
) -> None:
    key, other = [await create(client, merchant, scopes=["admin"]) for _ in range(2)]
    headers = {"X-API-Key": key.key}
    assert (await client.get(KEYS, headers=headers)).status_code == 200
    demo.execute(f"UPDATE api_keys SET {ended} = now() WHERE prefix = %s", [key.prefix])  # noqa: S608  names above
    assert (await client.get(KEYS, headers=headers)).status_code == 200  # for up to 30 seconds
    for method, path, body in (
        ("POST", KEYS, {"name": "new", "scopes": ["admin"]}),
        ("POST", f"{KEYS}/{other.prefix}/rotate", None),
        ("POST", f"{KEYS}/{key.prefix}/rotate", None),
        ("DELETE", f"{KEYS}/{other.prefix}", None),
        ("PATCH", "/api/admin/settings", {"low_stock_threshold": 9}),
        ("POST", "/api/admin/suppressions/lift", {"email": "jo@example.com"}),
    ):
        answer = await client.request(method, path, json=body, headers=headers | {"If-Match": "*"})
        assert problem(answer) == (401, "unauthorized"), path


async def test_revoked_key_is_unauthorized_in_every_process(
    client: httpx.AsyncClient, settings: Settings, open_client: OpenClient, merchant: dict[str, str]
) -> None:
    issued = await create(client, merchant)
    for _ in range(2):
        revoked = await client.delete(f"{KEYS}/{issued.prefix}", headers=merchant)
        assert (revoked.status_code, revoked.headers.get("content-type")) == (204, None)
    assert await status(client, issued.key) == 401
    async with open_client(settings) as another_process:
        assert await status(another_process, issued.key) == 401
    assert problem(await client.post(f"{KEYS}/{issued.prefix}/rotate", headers=merchant)) == (409, "conflict")
    shown = KeyList.model_validate_json((await client.get(KEYS, headers=merchant)).content).keys
    assert shown[0].revoked_at


async def test_unknown_key_prefix_is_not_found(client: httpx.AsyncClient, merchant: dict[str, str]) -> None:
    assert problem(await client.delete(f"{KEYS}/{'0' * 12}", headers=merchant)) == (404, "not-found")
    assert problem(await client.post(f"{KEYS}/{'0' * 12}/rotate", headers=merchant)) == (404, "not-found")
    assert problem(await client.delete(f"{KEYS}/x", headers=merchant)) == (422, "invalid-request")


async def test_audit_log_records_every_change_of_a_key(
    client: httpx.AsyncClient, merchant: dict[str, str], demo: Demo
) -> None:
    issued = await create(client, merchant)
    new = (await client.post(f"{KEYS}/{issued.prefix}/rotate", headers=merchant)).json()
    await client.delete(f"{KEYS}/{new['prefix']}", headers=merchant)
    found = demo.execute(
        "SELECT shop_id, actor, action, resource_id, metadata, host(ip) FROM audit_logs WHERE resource = 'api_key'"
        " ORDER BY id"
    ).fetchall()
    granted = {"scopes": ["read"], "networks": [], "days": None}
    assert found == [
        (1, "admin:1:42", "key.created", issued.prefix, granted, "127.0.0.1"),
        (1, "admin:1:42", "key.rotated", issued.prefix, {"successor": new["prefix"]}, "127.0.0.1"),
        (1, "admin:1:42", "key.revoked", new["prefix"], {}, "127.0.0.1"),
    ]


async def test_key_is_limited_to_its_scopes(
    client: httpx.AsyncClient, merchant: dict[str, str], guest: Shopper, emma: Shopper
) -> None:
    read, admin = [await create(client, merchant, scopes=[scope]) for scope in ("read", "admin")]
    for path in (KEYS, "/api/admin/usage"):
        assert problem(await client.get(path, headers={"X-API-Key": read.key})) == (403, "not-allowed")
        assert (await client.get(path, headers={"X-API-Key": admin.key})).status_code == 200
        for shopper in (guest, emma):
            assert problem(await shopper.send("GET", path)) == (403, "not-allowed")
        assert problem(await client.get(path)) == (401, "unauthorized")
    slug = await emma.create()
    for _ in range(2):  # the second time on the fast path
        assert (await client.get(f"{LIST}/{slug}", headers={"X-API-Key": read.key})).status_code == 200
        answer = await client.get(f"{LIST}/{slug}", headers={"X-API-Key": admin.key})
        assert problem(answer) == (403, "not-allowed")


async def test_key_gives_another_one_at_most_its_own_rights(
    client: httpx.AsyncClient, merchant: dict[str, str]
) -> None:
    open_key = {"scopes": ["read"]}
    for own, new, created in (
        ({"scopes": ["admin"]}, {"scopes": ["admin"]}, True),
        ({"scopes": ["admin"]}, {"scopes": ["read", "write", "admin"]}, False),
        ({"scopes": ["admin"]}, open_key, False),
        ({"scopes": ["admin", "write"]}, open_key, True),
        ({"scopes": ["admin", "read"]}, {"scopes": ["write"]}, False),
        ({"scopes": ["admin", "read"], "ip_allow_list": ["127.0.0.0/8"]}, open_key, False),
        (
            {"scopes": ["admin", "read"], "ip_allow_list": ["127.0.0.0/8"]},
            open_key | {"ip_allow_list": ["127.0.0.1", "0.0.0.0/0"]},
            False,
        ),
        (
            {"scopes": ["admin", "read"], "ip_allow_list": ["127.0.0.0/8", "::/0"]},
            open_key | {"ip_allow_list": ["127.0.0.1", "2001:db8::/32"]},
            True,
        ),
        ({"scopes": ["admin", "read"], "days": 2}, open_key, False),
        ({"scopes": ["admin", "read"], "days": 2}, open_key | {"days": 3}, False),
        ({"scopes": ["admin", "read"], "days": 2}, open_key | {"days": 1}, True),
    ):
        key = (await client.post(KEYS, json={"name": "own", **own}, headers=merchant)).json()["key"]
        answer = await client.post(KEYS, json={"name": "new", **new}, headers={"X-API-Key": key})
        assert (answer.status_code == 201) is created, (own, new, answer.text)
        assert created or problem(answer) == (403, "not-allowed")


async def test_key_rotates_itself_and_no_key_with_more_rights(
    client: httpx.AsyncClient, merchant: dict[str, str]
) -> None:
    strong = await create(client, merchant, scopes=["read", "write", "admin"])
    weak = await create(client, merchant, scopes=["admin"])
    path, headers = f"{KEYS}/{{}}/rotate", {"X-API-Key": weak.key}
    assert problem(await client.post(path.format(strong.prefix), headers=headers)) == (403, "not-allowed")
    assert (await client.post(path.format(weak.prefix), headers=headers)).status_code == 201


async def test_two_keys_that_rotate_each_other_are_no_deadlock(
    client: httpx.AsyncClient, settings: Settings, merchant: dict[str, str], demo: Demo
) -> None:
    older, newer = [await create(client, merchant, scopes=["admin"]) for _ in range(2)]
    demo.execute("UPDATE api_keys SET last_used_at = now()")  # a process that notes it does not wait for the lock
    rotations = []
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as other:
        other.execute("SELECT FROM api_keys WHERE prefix = %s FOR UPDATE", [older.prefix])
        for old, own in ((older, newer), (newer, older)):
            sent = client.post(f"{KEYS}/{old.prefix}/rotate", headers={"X-API-Key": own.key})
            rotations.append(asyncio.create_task(sent))
            await wait_until(lambda: demo.execute(WAITING).fetchone() == (len(rotations),))
    first, second = await asyncio.gather(*rotations)
    assert first.status_code == 201
    assert problem(second) == (403, "not-allowed")  # its own key ends with the grace, and the other one never


async def test_key_that_is_revoked_meanwhile_creates_no_other(
    client: httpx.AsyncClient, settings: Settings, merchant: dict[str, str], demo: Demo
) -> None:
    key = await create(client, merchant, scopes=["admin"])
    demo.execute("UPDATE api_keys SET last_used_at = now()")
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as other:
        other.execute("UPDATE api_keys SET revoked_at = now() WHERE prefix = %s", [key.prefix])
        sent = client.post(KEYS, json=NEW | {"scopes": ["admin"]}, headers={"X-API-Key": key.key})
        creation = asyncio.create_task(sent)
        await wait_until(lambda: demo.execute(WAITING).fetchone() == (1,))
    assert problem(await creation) == (403, "not-allowed")


ALLOWED = ["203.0.113.0/24", "2001:db8::/32", "198.51.100.7"]


@pytest.mark.parametrize(
    ("peer", "answer"),
    [
        ("203.0.113.9", 200), ("203.0.114.9", 401), ("198.51.100.7", 200), ("198.51.100.8", 401),
        ("2001:db8::7", 200), ("2001:db9::7", 401), ("::ffff:203.0.113.9", 200), ("::ffff:203.0.114.9", 401),
        ("", 401), ("unix", 401),
    ],
)  # fmt: skip
async def test_key_is_accepted_from_its_allowed_networks_only(
    client: httpx.AsyncClient, merchant: dict[str, str], emma: Shopper, peer: str, answer: int
) -> None:
    issued = await create(client, merchant, ip_allow_list=ALLOWED)
    slug = await emma.create()
    async with called_from(client, peer) as other:
        for forwarded in ({}, {"X-Forwarded-For": "203.0.113.9"}):  # ignored: the peer is not a trusted proxy
            assert await status(other, issued.key, **forwarded) == answer
    async with called_from(client, "203.0.113.9") as friend:
        for _ in range(2):
            assert (await friend.get(f"{LIST}/{slug}", headers={"X-API-Key": issued.key})).status_code == 200
    async with called_from(client, peer) as other:  # on the fast path
        assert (await other.get(f"{LIST}/{slug}", headers={"X-API-Key": issued.key})).status_code == answer


async def test_behind_a_trusted_proxy_the_forwarded_address_counts(
    settings: Settings, open_client: OpenClient, merchant: dict[str, str], demo: Demo
) -> None:
    async with open_client(settings.model_copy(update={"trusted_proxies": "10.0.0.0/8, fd00::/8"})) as client:
        issued = await create(client, merchant, ip_allow_list=ALLOWED)
        for peer, forwarded, answer in (
            ("10.1.2.3", "203.0.113.9", 200),
            ("10.1.2.3", "203.0.114.9", 401),
            ("10.1.2.3", "203.0.113.9, 203.0.114.9", 401),  # a client's forged entry is further left
            ("10.1.2.3", "203.0.114.9, 203.0.113.9, 10.9.9.9", 200),
            ("fd00::1", "2001:db8::7", 200),
            ("203.0.114.9", "203.0.113.9", 401),
            ("10.1.2.3", "nonsense", 401),
        ):
            async with called_from(client, peer) as other:
                found = await status(other, issued.key, **{"X-Forwarded-For": forwarded})
                assert found == answer, (peer, forwarded)


@pytest.mark.parametrize(
    ("forwarded", "recorded"),
    [("203.0.113.9", "203.0.113.9"), ("2001:db8::7", "2001:db8::7"), ("203.0.113.9:1234", "203.0.113.9"),
     ("fe80::1%eth0", None), ("not.an.address", None), ("", None)],
)  # fmt: skip
async def test_audit_log_records_only_valid_addresses(
    settings: Settings,
    open_client: OpenClient,
    merchant: dict[str, str],
    demo: Demo,
    forwarded: str,
    recorded: str | None,
) -> None:
    async with (
        open_client(settings.model_copy(update={"trusted_proxies": "10.0.0.0/8"})) as client,
        called_from(client, "10.1.2.3") as other,
    ):
        await create(other, {**merchant, "X-Forwarded-For": forwarded})
    assert demo.execute("SELECT host(ip) FROM audit_logs WHERE resource = 'api_key'").fetchall() == [(recorded,)]


async def test_usage_shows_the_shops_counters(
    client: httpx.AsyncClient, merchant: dict[str, str], token: Callable[..., dict[str, str]], emma: Shopper
) -> None:
    slug = await emma.create()
    sizes = [len((await emma.read(slug)).content) for _ in range(3)]
    await app_state_of(client).traffic_recorder.flush()
    answer = await client.get("/api/admin/usage", headers=merchant)
    used = UsageAnswer.model_validate_json(answer.content)
    assert used.hits >= 3
    assert used.bytes_sent >= sum(sizes)
    assert (used.entries, used.bytes_held > 0, used.quota_entries) == (1, True, 50_000)
    others = await client.get("/api/admin/usage", headers=token(dest="https://sakura-living.myshopify.com"))
    assert (others.json()["hits"], others.json()["entries"]) == (0, 0)


async def test_scope_write_includes_read(client: httpx.AsyncClient, merchant: dict[str, str]) -> None:
    made = await create(client, merchant, scopes=["write"])
    assert await status(client, made.key) == 200
