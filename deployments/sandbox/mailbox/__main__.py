"""`python -m deployments.sandbox.mailbox`: the mail server, its page and the simulated providers on 127.0.0.1."""

import argparse
from pathlib import Path

import uvicorn

from deployments.argument_types import port
from deployments.sandbox.mailbox.app import create_app


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(
        "python -m deployments.sandbox.mailbox",
        description="A mail server that delivers nothing and shows received mail at http://127.0.0.1:PORT.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--smtp-port", type=port, default=4525, help="port of the SMTP server")
    parser.add_argument("--dns-port", type=port, default=4553, help="port of the DNS server of its domain")
    parser.add_argument("--port", type=port, default=4500, help="port of the page")
    parser.add_argument("--state", type=Path, help="file that keeps the mail between runs")
    parser.add_argument("--events", metavar="URL", help="where the simulated providers send events: URL/ses and so on")
    parser.add_argument("--bounces", metavar="HOST:PORT", help="LMTP server that gets bounces of the mail server")
    arguments = parser.parse_args()
    app = create_app(arguments.smtp_port, arguments.state, arguments.events, arguments.dns_port, arguments.bounces)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning")


if __name__ == "__main__":
    main()
