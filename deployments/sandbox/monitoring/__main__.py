"""`python -m deployments.sandbox.monitoring`: the page of the dashboard on 127.0.0.1."""

import argparse

import uvicorn

from deployments.argument_types import port
from deployments.sandbox.monitoring.app import Addresses, create_app


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        "python -m deployments.sandbox.monitoring",
        description="Draws the dashboard of deployments/monitoring from Prometheus, at http://127.0.0.1:PORT.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=port, default=4600, help="port of the page")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="URL of Prometheus")
    parser.add_argument("--alertmanager", default="http://127.0.0.1:9093", help="URL of Alertmanager, for a link")
    parser.add_argument("--runbooks", default="http://127.0.0.1:8000/runbooks", help="URL of the runbooks")
    arguments = parser.parse_args()
    addresses = Addresses(arguments.prometheus, arguments.alertmanager, arguments.runbooks)
    uvicorn.run(create_app(addresses), host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
