"""Control API for people and tests: variants, faults, counters and rate limit."""

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from deployments.sandbox.shopify.admin import ShopDep, SimulatorDep
from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.inventory import ProductStatus, Variant, VariantChange, page
from deployments.sandbox.shopify.shop import SimulatedShop
from wishcraft.domain.currencies import MAX_AMOUNT
from wishcraft.domain.inventory import InventoryPolicy

router = APIRouter()


class VariantPatch(BaseModel):
    """The fields to change; absent fields keep their values."""

    model_config = ConfigDict(extra="forbid")

    product_title: str = ""
    variant_title: str = ""
    price: Annotated[Decimal, Field(ge=0, le=MAX_AMOUNT)] = Decimal(0)
    compare_at_price: Annotated[Decimal, Field(ge=0, le=MAX_AMOUNT)] | None = None
    quantity: int = 0
    tracked: bool = True
    policy: InventoryPolicy = InventoryPolicy.DENY
    product_status: ProductStatus = ProductStatus.ACTIVE


class FaultSetting(BaseModel):
    """A fault to add; `remaining` 0 removes it, null keeps it until removed."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    remaining: Annotated[int, Field(ge=0)] | None = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0


class RateLimitSetting(BaseModel):
    """Whether requests use points of the shop's bucket."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool


@router.post("/{shop}/app")
async def open_app(shop: ShopDep, simulator: SimulatorDep) -> dict[str, str]:
    """A merchant opens the app in the admin, and installs it if need be: the ID token that App Bridge gives."""
    simulator.credentials.install(shop.demo.domain)
    return {"id_token": simulator.credentials.id_token(shop.demo.domain, simulator.api_key, simulator.api_secret)}


@router.delete("/{shop}/app", status_code=204)
async def uninstall_app(shop: ShopDep, simulator: SimulatorDep) -> None:
    """A merchant uninstalls the app: its tokens of the shop end, and a webhook says so."""
    domain = shop.demo.domain
    simulator.publish(domain, "app/uninstalled", {"id": shop.demo.number, "myshopify_domain": domain}, domain)
    simulator.credentials.uninstall(domain)


@router.post("/{shop}/customers/{number}/data-request", status_code=204)
async def request_data(shop: ShopDep, simulator: SimulatorDep, number: int) -> None:
    """A customer asks the shop for their data: the webhook `customers/data_request`."""
    payload = _about_customer(shop, number, "orders_requested") | {"data_request": {"id": number % 10_000}}
    simulator.publish(shop.demo.domain, "customers/data_request", payload, str(number))


@router.post("/{shop}/customers/{number}/redact", status_code=204)
async def redact_customer(shop: ShopDep, simulator: SimulatorDep, number: int) -> None:
    """The shop erases a customer: the webhook `customers/redact`, which Shopify sends after ten days or more."""
    payload = _about_customer(shop, number, "orders_to_redact")
    simulator.publish(shop.demo.domain, "customers/redact", payload, str(number))


@router.get("/{shop}/variants")
async def list_variants(
    shop: ShopDep,
    limit: Annotated[int, Query(ge=1, le=250)] = 50,
    after: int | None = None,
    q: Annotated[str, Query(max_length=100)] = "",
) -> dict[str, Any]:
    """Variants by id, with each word of `q` in their titles; `next` is the `after` of the next page, or null."""
    ids = page(shop.inventory.search(q), limit + 1, after)
    found = [variant for number in ids[:limit] if (variant := shop.inventory.find(number))]
    return {"variants": [_as_json(shop, one) for one in found], "next": ids[limit - 1] if len(ids) > limit else None}


@router.get("/{shop}/variants/{number}")
async def read_variant(shop: ShopDep, number: int) -> dict[str, Any]:
    """One variant, even if deleted."""
    return _as_json(shop, _find_variant(shop, number))


@router.patch("/{shop}/variants/{number}")
async def change_variant(shop: ShopDep, number: int, patch: VariantPatch) -> dict[str, Any]:
    """Change a variant; the tick does not change it any more."""
    return _change(shop, number, patch.model_dump(include=patch.model_fields_set))


@router.delete("/{shop}/variants/{number}")
async def delete_variant(shop: ShopDep, number: int) -> dict[str, Any]:
    """Delete a variant: the Admin API returns null for it."""
    return _change(shop, number, {"deleted": True})


@router.post("/{shop}/variants/{number}/restore")
async def restore_variant(shop: ShopDep, number: int) -> dict[str, Any]:
    """Restore a deleted variant."""
    return _change(shop, number, {"deleted": False})


@router.get("/{shop}/faults")
async def list_faults(shop: ShopDep) -> list[dict[str, Any]]:
    """The active faults."""
    return [asdict(fault) for fault in shop.faults]


@router.put("/{shop}/faults")
async def set_fault(shop: ShopDep, setting: FaultSetting) -> list[dict[str, Any]]:
    """Add or remove a fault; returns the active ones."""
    shop.faults.set(Fault(setting.kind, setting.remaining, setting.probability))
    return [asdict(fault) for fault in shop.faults]


@router.get("/{shop}/requests")
async def read_counters(shop: ShopDep) -> dict[str, Any]:
    """The shop's counters since the start, how many requests had each fault, and its available points."""
    return asdict(shop.counters) | {
        "faults": dict(shop.faults.used),
        "throttle_status": shop.bucket.cost(0, 0)["throttleStatus"],
    }


@router.put("/{shop}/rate-limit")
async def set_rate_limit(shop: ShopDep, setting: RateLimitSetting) -> RateLimitSetting:
    """Enable or disable the rate limit."""
    shop.bucket.enabled = setting.enabled
    return setting


def _about_customer(shop: SimulatedShop, number: int, orders: str) -> dict[str, Any]:
    """The payload of a webhook about the customer's data: ids, and the address of the last order, if there is one."""
    found = [order for order in shop.orders.all() if order.customer.id == number]
    email = found[-1].customer.email if found else None
    return {
        "shop_id": shop.demo.number,
        "shop_domain": shop.demo.domain,
        "customer": {"id": number, "email": email, "phone": None},
        orders: [order.id for order in found],
    }


def _find_variant(shop: SimulatedShop, number: int) -> Variant:
    variant = shop.inventory.find_or_deleted(number)
    if variant is None:
        raise HTTPException(404, "no such variant")
    return variant


def _change(shop: SimulatedShop, number: int, fields: dict[str, Any]) -> dict[str, Any]:
    variant = _find_variant(shop, number)
    product_status = fields.pop("product_status", None)
    shop.inventory.change(variant, VariantChange(fields, product_status))
    return _as_json(shop, variant)


def _as_json(shop: SimulatedShop, variant: Variant) -> dict[str, Any]:
    return asdict(variant) | {"product_status": shop.inventory.status(variant.product_id)}
