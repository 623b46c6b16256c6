"""Breakages of purchases from orders."""

from typing import Final

from tests.support.breakages.breakage import Breakage

_LATER_WEBHOOKS: Final = "tests/services/purchases/test_later_webhooks.py"
_INTERLEAVINGS: Final = "tests/services/customers/test_interleavings.py"

BREAKAGES: Final = (
    Breakage(
        "an item that is added after an order takes its lines", "wishcraft/services/purchases/attribution.py",
        "and not item.is_hidden and item.created_at < moment + CLOCKS else", "and not item.is_hidden else",
        (_LATER_WEBHOOKS,),
    ),
    Breakage(
        "a webhook undoes a dismissal", "wishcraft/services/purchases/attribution.py",
        "if line.registry_id is not None or line.is_dismissed}", "if line.registry_id is not None}",
        (_LATER_WEBHOOKS,),
    ),
    Breakage(
        "ordinary shopping is judged again", "wishcraft/services/purchases/attribution.py",
        "return waiting.claim != text if waiting else not is_judged", "return True", (_LATER_WEBHOOKS,),
    ),
    Breakage(
        "a deleted order counts", "wishcraft/services/purchases/order_updates.py",
        "    if message.topic == DELETED:", "    if message.topic == DELETED and not message.payload:",
        ("tests/services/purchases/test_lost_orders.py",),
    ),
    Breakage(
        "an order beside a merge names the customer who is gone", "wishcraft/services/purchases/webhooks.py",
        "    await customers.hold(session, shop_id, purchasers)\n", "", (_INTERLEAVINGS,),
    ),
    Breakage(
        "a registry created beside a merge belongs to the customer who is gone", "wishcraft/store/registries.py",
        "    name = lock_name(shop_id, customer_id)\n", '    name = f"create:{shop_id}:{customer_id}"\n',
        (_INTERLEAVINGS,),
    ),
    Breakage(
        "an order locks a registry that it names after others", "wishcraft/services/purchases/webhooks.py",
        "found.registry_ids | bought_from | named", "found.registry_ids | bought_from",
        ("tests/services/purchases/test_lock_order.py",),
    ),
    Breakage(
        "orders wait for webhooks that wait for Shopify", "wishcraft/services/webhooks/consume.py",
        "async with self._low_slots if line[1] is TopicPriority.LOW else nullcontext(), self._slots:",
        "async with self._slots:", ("tests/services/webhooks/test_fairness.py",),
    ),
    Breakage(
        "an order that PostgreSQL refuses ends the reconciliation", "wishcraft/services/purchases/reconcile.py",
        "if len(updates) > 1:", "if False:", ("tests/services/purchases/test_lost_orders.py",),
    ),
    Breakage(
        "webhooks of one event are one", "api/routes/webhooks.py",
        "signature=digest[:SIGNATURE_BYTES]", 'signature=b""', ("tests/api/test_webhooks.py",),
    ),
)  # fmt: skip
