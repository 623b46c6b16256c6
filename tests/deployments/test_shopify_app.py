"""`shopify.app.toml` against the code, in both directions."""

import tomllib
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from api.app import create_app
from api.middleware.request import WEBHOOKS
from deployments.sandbox.processes import ROOT
from wishcraft.domain.mail_events import TOPIC as MAIL_EVENTS
from wishcraft.domain.share_links import share_template
from wishcraft.domain.webhooks import TOPICS
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.settings import Settings
from wishcraft.shopify.client import SCOPES

APP: Final[dict[str, Any]] = tomllib.loads((ROOT / "deployments/shopify/shopify.app.toml").read_text())
COMPLIANCE: Final = {"customers/data_request", "customers/redact", "shop/redact"}
SETTINGS: Final = {
    "database_url": "postgresql://localhost/none", "redis_url": "redis://localhost", "shopify_api_key": "id",
    "encryption_keys": SecretStr(Fernet.generate_key().decode()), "shopify_api_secret": SecretStr("secret"),
}  # fmt: skip


@pytest.fixture(scope="module")
def paths() -> set[str]:
    """The paths of the API's routes."""
    return {route.path for route in create_app(Settings.model_validate(SETTINGS)).state.routes}


def subscribed(key: str) -> list[str]:
    return [topic for each in APP["webhooks"]["subscriptions"] for topic in each.get(key, ())]


def test_each_topic_has_a_handler_and_a_subscription_and_each_of_these_is_a_topic() -> None:
    topics, compliance = subscribed("topics"), subscribed("compliance_topics")
    assert sorted([*topics, *compliance]) == sorted(TOPICS)
    assert HANDLERS.keys() == TOPICS.keys() | {MAIL_EVENTS}
    assert set(compliance) == set(TOPICS) & COMPLIANCE  # Shopify refuses them among the others


def test_webhooks_have_the_api_version_of_the_queries() -> None:
    assert APP["webhooks"]["api_version"] == Settings.model_fields["shopify_api_version"].default


def test_addresses_lead_to_routes(paths: set[str]) -> None:
    application, proxy = urlsplit(APP["application_url"]), urlsplit(APP["app_proxy"]["url"])
    webhooks = {urlsplit(each["uri"]) for each in APP["webhooks"]["subscriptions"]}
    assert {(each.scheme, each.netloc) for each in {application, proxy, *webhooks}} == {("https", "registry.example")}
    assert application.path in paths
    assert {each.path for each in webhooks} == {WEBHOOKS} <= paths
    assert {urlsplit(url).path for url in APP["auth"]["redirect_urls"]} <= paths
    assert APP["embedded"] is True


def test_share_links_lead_through_the_app_proxy_to_the_page_of_a_registry(paths: set[str]) -> None:
    through = urlsplit(share_template(None, "shop.myshopify.com", "https://{shop}")).path
    prefix = f"/{APP['app_proxy']['prefix']}/{APP['app_proxy']['subpath']}"
    assert through.startswith(prefix)
    path = urlsplit(APP["app_proxy"]["url"]).path + through.removeprefix(prefix)
    assert path.replace("{slug}", "{ref}") in paths


def test_the_scopes_are_those_that_an_installation_checks() -> None:
    assert set(APP["access_scopes"]["scopes"].split(",")) == SCOPES
