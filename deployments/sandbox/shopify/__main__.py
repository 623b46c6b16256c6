"""`python -m deployments.sandbox.shopify`: the simulator on 127.0.0.1."""

import argparse
import os
from pathlib import Path
from typing import Final

import uvicorn

from deployments.argument_types import between, port, seconds
from deployments.sandbox.shopify.app import create_app
from deployments.sandbox.shopify.shopping import MAX_RATE
from deployments.sandbox.shopify.simulator import Options

MAX_PRODUCTS: Final = 100_000


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        "python -m deployments.sandbox.shopify",
        description="Simulated shops with the Admin API, webhooks and an app proxy: http://127.0.0.1:PORT/{shop}."
        " SHOPIFY_API_KEY and SHOPIFY_API_SECRET are the credentials of the app, as for the API.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    defaults = Options()
    parser.add_argument("--port", type=port, default=4400)
    parser.add_argument(
        "--products", type=between(int, 1, MAX_PRODUCTS), default=defaults.products, help="products per shop"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--tick", type=seconds, default=5.0, help="seconds between changes of stock; 0 for none")
    parser.add_argument("--bulk-seconds", type=seconds, default=1.0, help="seconds before a bulk operation runs")
    parser.add_argument("--state", type=Path, help="file that keeps the issued tokens between runs")
    parser.add_argument("--app", help="URL of the app, to which webhooks and requests of browsers go; none without it")
    parser.add_argument("--actions-per-minute", type=between(float, 0.0, MAX_RATE), default=0.0,
                        help="what guests do; 0 for nothing")  # fmt: skip
    parser.add_argument("--no-rate-limit", action="store_true", help="count points but never throttle")
    arguments = parser.parse_args()
    options = Options(
        products=arguments.products,
        seed=arguments.seed,
        rate_limited=not arguments.no_rate_limit,
        tick_seconds=arguments.tick or None,
        state=arguments.state,
        api_key=os.environ.get("SHOPIFY_API_KEY", defaults.api_key),
        api_secret=os.environ.get("SHOPIFY_API_SECRET", defaults.api_secret),
        bulk_seconds=arguments.bulk_seconds,
        has_store=True,
        own_url=f"http://127.0.0.1:{arguments.port}",
        app_url=arguments.app,
        actions_per_minute=arguments.actions_per_minute,
    )
    uvicorn.run(create_app(options), host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
