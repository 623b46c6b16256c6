"""Breakages of the cache of registries and of the cache of variants."""

from typing import Final

from tests.support.breakages.breakage import Breakage

_COHERENCE: Final = "tests/cache/test_coherence.py"
_VARIANTS: Final = "tests/cache/test_variants.py"

BREAKAGES: Final = (
    # Cache protocol
    Breakage(
        "no version floor in FILL", "wishcraft/cache/scripts.py",
        "if version < tonumber(redis.call('HGET', floors, slug) or 0) then",
        "if false then", (f"{_COHERENCE}::test_load_between_invalidation_and_commit_is_not_filled",),
    ),
    Breakage(
        "no lease check in FILL", "wishcraft/cache/scripts.py",
        "if redis.call('GET', lease) ~= token then",
        "if false then", (f"{_COHERENCE}::test_expired_lease_cannot_fill_the_cache",),
    ),
    Breakage(
        "FILL replaces a newer entry", "wishcraft/cache/scripts.py",
        " and struct.unpack('>I8', present, 10) > version then",
        " and false then", (f"{_COHERENCE}::test_fill_does_not_replace_a_newer_version_and_renews_an_equal_one",),
    ),
    Breakage(
        "an entry of another era is valid", "wishcraft/cache/coherence.py",
        "return entry if entry and entry.header.era == self._server.era else None",
        "return entry", (f"{_COHERENCE}::test_entry_of_another_era_is_a_miss_and_is_replaced",),
    ),
    Breakage(
        "a conditional read takes the whole entry", "api/fast_path.py",
        "only_header=has_tag", "only_header=False",
        ("tests/api/test_conditional_reads.py::test_client_with_the_last_version_costs_no_read_of_the_body",),
    ),
    Breakage(
        "a header alone is answered as the registry", "api/fast_path.py",
        "elif len(raw) == entries.HEADER_SIZE:", "elif False:",
        ("tests/api/test_conditional_reads.py::test_client_with_the_last_version_costs_no_read_of_the_body",),
    ),
    # The cache of variants
    Breakage(
        "an older reading replaces newer facts", "wishcraft/cache/variant_scripts.py",
        "has_newer = present_read_at >= read_at",
        "has_newer = false", (f"{_VARIANTS}::test_newest_reading_and_image_stay_in_whatever_order_they_arrive",),
    ),
    Breakage(
        "facts read before a restart are stored", "wishcraft/cache/variant_scripts.py",
        "if redis.call('HGET', era, 'era') ~= string.sub(begin, 2) then",
        "if false then", (f"{_VARIANTS}::test_facts_of_another_era_are_missing_and_late_ones_are_refused",),
    ),
    Breakage(
        "a look-up shows drafts", "wishcraft/domain/variants.py",
        "return self.reading if self.reading and self.reading.product_active else None",
        "return self.reading", ("tests/api/test_products.py::test_drafts_and_deleted_and_others_variants_are_unknown",),
    ),
    Breakage(
        "an added item counts as read now", "wishcraft/services/registries/items.py",
        "facts.image.url if facts.image else None, facts.observed_at)",
        "facts.image.url if facts.image else None, facts.observed_at.now(facts.observed_at.tzinfo))",
        ("tests/api/test_products.py::test_added_item_has_the_time_of_its_reading_for_the_sync",),
    ),
)  # fmt: skip
