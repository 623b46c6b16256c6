"""Breakages of access and of rate limits."""

from typing import Final

from tests.support.breakages.breakage import Breakage

_KEYS: Final = "tests/api/test_keys.py"
_SIGNATURES: Final = "tests/shopify/test_signatures.py"

BREAKAGES: Final = (
    Breakage(
        "a list shows registries of other shops", "wishcraft/store/registry_lists.py",
        'conditions: list[ColumnElement[bool]] = [Registry.shop_id == bindparam("shop_id")]',
        "conditions: list[ColumnElement[bool]] = []",
        ("tests/api/test_lists.py::test_search_finds_only_public_active_registries_of_the_shop",),
    ),
    Breakage(
        "a new access code leaves the old grants", "wishcraft/services/registries/lifecycle.py",
        "            ended = (await sessions.end_grants(write.session, shop_id, [registry.slug]))[registry.slug]\n",
        "            ended = []\n",
        ("tests/api/test_guests.py::test_new_access_code_ends_the_grants_of_the_old_one",),
    ),
    Breakage(
        "an app-proxy signature never expires", "wishcraft/shopify/signatures.py",
        "if not -_CLOCK_SKEW <= age <= max_age or ",
        "if ", (f"{_SIGNATURES}::test_timestamp_that_is_too_old_or_in_the_future_is_refused",),
    ),
    Breakage(
        "an ambiguous app-proxy query is accepted", "wishcraft/shopify/signatures.py",
        " or _is_ambiguous(message, (customer, shop, timestamp), now):",
        ":", (f"{_SIGNATURES}::test_message_recut_into_another_identity_is_refused_either_way",),
    ),
    Breakage(
        "an ID token for another app is accepted", "wishcraft/shopify/id_tokens.py",
        'options={"require": ["exp", "nbf", "aud", "dest", "sub"]},',
        'options={"require": ["exp", "nbf", "aud", "dest", "sub"], "verify_aud": False},',
        (f"{_KEYS}::test_only_a_current_id_token_for_this_app_opens_the_admin",),
    ),
    Breakage(
        "an API key needs no scope", "api/auth/dependencies.py",
        "        if scope not in caller.scopes:\n",
        "        if False:\n", (f"{_KEYS}::test_key_is_limited_to_its_scopes",),
    ),
    Breakage(
        "a rate limit ignores the other processes", "wishcraft/cache/rate_limiter.py",
        "remaining = policy.quota - window.shared -",
        "remaining = policy.quota -",
        ("tests/cache/test_rate_limiter.py::test_processes_that_exchange_counts_share_the_quota",),
    ),
)  # fmt: skip
