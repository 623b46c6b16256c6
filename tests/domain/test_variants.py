from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.support.variants import reading
from wishcraft.domain.variants import VariantFacts, VariantImage, is_complete, is_fresh, variant_payload

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def facts(age: timedelta, image_age: timedelta | None = timedelta(0), *, active: bool = True) -> VariantFacts:
    image = None if image_age is None else VariantImage(None, NOW - image_age)
    return VariantFacts(reading(product_active=active), NOW - age, image)


@pytest.mark.parametrize(
    ("known", "fresh"),
    [
        (facts(30 * MINUTE - SECOND), True),
        (facts(30 * MINUTE), False),
        (facts(-29 * MINUTE), True),
        (facts(-30 * MINUTE), False),
        (facts(MINUTE, 24 * HOUR - SECOND), True),
        (facts(MINUTE, 24 * HOUR), False),
        (facts(MINUTE, None), False),
        (facts(59 * SECOND, active=False), True),
        (facts(MINUTE, active=False), False),
        (VariantFacts(None, NOW - 59 * SECOND), True),
        (VariantFacts(None, NOW - MINUTE), False),
    ],
)
def test_facts_are_fresh_by_the_ages_of_their_parts(known: VariantFacts, *, fresh: bool) -> None:
    assert is_fresh(known, NOW) is fresh


def test_image_of_any_age_may_do() -> None:
    assert is_fresh(facts(MINUTE, 400 * HOUR), NOW, any_image=True)
    assert not is_fresh(facts(MINUTE, None), NOW, any_image=True)
    assert not is_fresh(facts(HOUR, 400 * HOUR), NOW, any_image=True)


def test_only_a_sold_variant_with_a_known_image_replaces_an_answer() -> None:
    assert is_complete(facts(20 * HOUR, 40 * HOUR))
    assert not is_complete(facts(MINUTE, None))
    assert not is_complete(facts(MINUTE, active=False))
    assert not is_complete(VariantFacts(None, NOW))


def test_drafts_and_missing_variants_are_not_sold() -> None:
    assert facts(MINUTE).sold == reading()
    assert facts(MINUTE, active=False).sold is None
    assert VariantFacts(None, NOW).sold is None


def test_a_missing_variant_is_kept_for_a_minute_and_others_for_a_day() -> None:
    assert VariantFacts(None, NOW).lifetime == MINUTE
    assert facts(MINUTE).lifetime == 24 * HOUR


def test_payload_has_an_items_names_and_the_currencys_decimals() -> None:
    vase = reading(compare_at_price=Decimal(20), inventory_quantity=3)
    payload = variant_payload(vase, VariantImage("/a.svg", NOW), "JPY", 3)
    assert payload == {
        "product_id": 6, "variant_id": 5, "handle": "vase", "product_title": "Väse", "variant_title": "Sage",
        "image": "/a.svg", "price": "12", "compare_at_price": "20", "available": True, "stock": "low",
    }  # fmt: skip
    plain = variant_payload(vase, None, "USD", 2)
    assert (plain["price"], plain["image"], plain["stock"]) == ("12.35", None, "in_stock")
