"""Shopify's package for Node as a further opinion: what it signs is accepted, and what it refuses is refused."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import jwt
import pytest

from deployments.sandbox.processes import ROOT
from deployments.sandbox.shopify.credentials import Credentials
from tests.support.optional import skip_or_fail
from wishcraft.shopify.id_tokens import verify_id_token
from wishcraft.shopify.signatures import verify_proxy_query
from wishcraft.shopify.webhooks import digest_of, is_signed, shopify_headers

CLIENT_ID, SECRET, SHOP = "a-client-id", "hush" * 16, "maple-and-pine.myshopify.com"
Node = Callable[..., list[Any]]
BODIES: Final = (
    "{}",
    '{"id":1}',
    '{"title":"Café ☕ 名","price":"1.50"}',
    "[]\r\n\t\u2028",
    '{"id":1}' + " " * 100_000,
)


@pytest.fixture(scope="module")
def node() -> Node:
    """Runs an operation of `shopify_api.cjs` for each of these tasks."""
    folder = Path(os.environ.get("SHOPIFY_API_FOLDER", ROOT / ".wishcraft/shopify-api"))
    command = shutil.which("node")
    if command is None or not (folder / "node_modules/@shopify/shopify-api").is_dir():
        skip_or_fail("node", f"Node.js, or Shopify's package for it in {folder}, is missing: .ci/run installs it")

    def run(operation: str, tasks: Sequence[Mapping[str, Any]]) -> list[Any]:
        asked = [{"operation": operation, **task} for task in tasks]
        text = json.dumps({"folder": str(folder), "app": {"client_id": CLIENT_ID, "secret": SECRET}, "tasks": asked})
        script = ROOT / "tests/support/shopify_api.cjs"
        done = subprocess.run(  # noqa: S603  ours
            [command, script], input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        answers: list[Any] = json.loads(done.stdout)
        assert len(answers) == len(tasks)
        return answers

    return run


def changed(text: str) -> list[str]:
    """The text with another character at some places, one more, and one less."""
    places = sorted({0, len(text) // 2, len(text) - 1}) if text else []
    others = [text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :] for place in places]
    return [*others, f"{text} ", *([text[:-1]] if text else [])]


def webhook(body: str, signature: str) -> dict[str, Any]:
    names = {"Topic": "orders/create", "Shop-Domain": SHOP, "API-Version": "2026-10", "Webhook-Id": "w"}
    headers = {f"X-Shopify-{name}": value for name, value in {**names, "Hmac-Sha256": signature}.items()}
    return {"body": body, "headers": headers}


def is_accepted(each: Mapping[str, Any]) -> bool:
    headers = shopify_headers([(name.encode(), value.encode()) for name, value in each["headers"].items()])
    digest = digest_of(headers)
    return digest is not None and is_signed(each["body"].encode(), digest, [SECRET])


def test_webhooks_signed_by_the_package_are_accepted_and_changed_ones_are_refused(node: Node) -> None:
    signatures = node("signWebhook", [{"body": body} for body in BODIES])
    genuine = [webhook(*each) for each in zip(BODIES, signatures, strict=True)]
    assert [is_accepted(each) for each in genuine] == node("checkWebhook", genuine) == [True] * len(BODIES)
    [body, *_], [signature, *_] = BODIES[2:], signatures[2:]
    forged = [
        *(webhook(other, signature) for other in changed(body)),
        *(webhook(body, other) for other in changed(signature)[:3]),
        webhook(body, signatures[0]),
    ]
    assert [is_accepted(each) for each in forged] == node("checkWebhook", forged) == [False] * len(forged)


def test_queries_signed_by_the_package_are_accepted_and_changed_ones_are_refused(node: Node) -> None:
    now = datetime.now(UTC)
    genuine = {
        "shop": SHOP, "timestamp": str(int(now.timestamp())), "path_prefix": "/apps/registry",
        "logged_in_customer_id": "42",
    }  # fmt: skip
    queries: list[dict[str, Any]] = [
        genuine, genuine | {"logged_in_customer_id": ""}, genuine | {"q": "Ü & ☕+", "tag": ["b", "a"], "empty": ""}
    ]  # fmt: skip
    signed = [
        query | {"signature": signature}
        for query, signature in zip(queries, node("signQuery", [{"query": each} for each in queries]), strict=True)
    ]
    forged = [
        signed[2] | {name: other} for name, value in signed[2].items() if name != "tag" for other in changed(value)
    ]
    forged += [signed[2] | {"tag": ["a", "b"]}, signed[2] | {"one": "more"}, {**genuine, "signature": ""}]

    def is_proven(query: Mapping[str, Any]) -> bool:
        return verify_proxy_query(urlencode(query, doseq=True), [SECRET], now) is not None

    for each, expected in ((signed, True), (forged, False)):
        assert [is_proven(query) for query in each] == [expected] * len(each)
        assert node("checkQuery", [{"query": query} for query in each]) == [expected] * len(each)


def test_id_tokens_signed_by_the_package_are_accepted_and_changed_ones_are_refused(node: Node) -> None:
    now = int(datetime.now(UTC).timestamp())
    claims = {"dest": f"https://{SHOP}", "aud": CLIENT_ID, "sub": "7", "nbf": now - 1, "iat": now - 1, "exp": now + 60}
    refused = [
        claims | {"aud": "another-app"}, claims | {"exp": now - 30}, claims | {"nbf": now + 60},
        {name: value for name, value in claims.items() if name != "aud"},
    ]  # fmt: skip
    [token, *wrong] = node("signToken", [{"claims": each} for each in (claims, *refused)])
    unsigned = jwt.encode(claims, "", algorithm="none")
    forged = [*wrong, unsigned, jwt.encode(claims, SECRET[1:], "HS256"), jwt.encode(claims, SECRET, "HS384")]
    head, body, signature = token.split(".")
    forged += [f"{head}.{body}.{other}" for other in changed(signature)[:2]]
    forged += [f"{head}.{other}.{signature}" for other in changed(body)[:3]]
    simulated = Credentials(float(now).__float__).id_token(SHOP, CLIENT_ID, SECRET)
    for tokens, expected in (([token, simulated], True), (forged, False)):
        found = [verify_id_token(each, [SECRET], CLIENT_ID) for each in tokens]
        assert [each is not None for each in found] == [expected] * len(tokens)
        assert node("checkToken", [{"token": each} for each in tokens]) == [expected] * len(tokens)
        assert {(each.shop, each.user) for each in found if each} <= {(SHOP, "7"), (SHOP, "42")}
