"""Secrets and personal data planted in every part of a request reach no log line, metric or Sentry event."""

import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from io import StringIO
from typing import Any

import httpx
import pytest
import sentry_sdk
from fastapi import FastAPI, Request
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from api.app import create_app
from api.middleware.request_secrets import RequestSecrets
from benchmarks.web import open_client
from tests.support.aliases import Demo
from tests.support.sentry_listener import SentryListener
from wishcraft.domain.invitations import make_token
from wishcraft.observability import sentry as sentry_reports
from wishcraft.observability.logs import JsonFormatter, TextFormatter, install_redaction
from wishcraft.resources import Resources
from wishcraft.settings import Settings

log = logging.getLogger("wishcraft.planted")


class Planted:
    """The planted values, by place."""

    def __init__(self) -> None:
        self.by_place: dict[str, str] = {}

    def token(self, place: str) -> str:
        return self._plant(place, f"shpat_{secrets.token_hex(16)}")

    def key(self, place: str) -> str:
        return self._plant(place, f"wc_{secrets.token_hex(6)}_{secrets.token_hex(36)}")

    def address(self, place: str) -> str:
        return self._plant(place, f"emma.{secrets.token_hex(4)}@mail.example.com")

    def digest(self, place: str) -> str:
        return self._plant(place, secrets.token_hex(32))

    def words(self, place: str) -> str:
        """A value without a recognisable form, such as an access code or a street."""
        return self._plant(
            place, f"{secrets.choice(('Rosewood', 'Maple', 'Abbey'))} Lane {secrets.randbelow(10**6):06}"
        )

    def word(self, place: str) -> str:
        """The same, valid in a URL."""
        return self._plant(place, f"sunflower-{secrets.token_hex(3)}")

    def found_in(self, everything: str) -> dict[str, str]:
        return {place: secret for place, secret in self.by_place.items() if secret in everything}

    def _plant(self, place: str, secret: str) -> str:
        assert place not in self.by_place
        self.by_place[place] = secret
        return secret


@pytest.fixture
def planted() -> Planted:
    return Planted()


@pytest.fixture
def lines() -> Iterator[list[StringIO]]:
    """Every log line, as JSON and as text."""
    handlers = [logging.StreamHandler(StringIO()) for _ in range(2)]
    handlers[0].setFormatter(JsonFormatter())
    handlers[1].setFormatter(TextFormatter())
    for handler in handlers:
        logging.getLogger().addHandler(handler)
    yield [handler.stream for handler in handlers]
    for handler in handlers:
        logging.getLogger().removeHandler(handler)


@pytest.fixture
async def client(
    settings: Settings, sentry: SentryListener, demo: Demo, planted: Planted
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API with a route that logs planted values and then raises."""
    code = planted.words("a setting that is a secret")
    config = settings.model_copy(
        update={
            "sentry_dsn": SecretStr(sentry.dsn),
            "sentry_traces_sample_rate": 1.0,
            "sentry_profiles_sample_rate": 1.0,
            "metrics_token": SecretStr(code),
            "mail_url": SecretStr(f"smtp://us:{planted.digest('the password in a URL')}@mail.example:25"),
        }
    )
    install_redaction()
    logging.getLogger("wishcraft").setLevel(logging.DEBUG)
    sentry_reports.start_sentry(config, "api")
    app = create_app(config)
    plant_on_request(app, planted, config)
    async with app.router.lifespan_context(app), open_client(app) as client:
        yield client
    logging.getLogger("wishcraft").setLevel(logging.NOTSET)


def plant_on_request(app: FastAPI, planted: Planted, config: Settings) -> None:
    @app.post("/api/planted/{ref}")
    async def route(ref: str, request: Request, sent: dict[str, Any]) -> None:
        in_the_body = sent["access_code"]
        plant_in_logs(planted, in_the_body)
        plant_in_reports(planted)
        await plant_in_spans(planted, request)
        local = planted.words("a local variable")
        person, said = sent["people"][0], request.headers["cookie"]
        error = ValueError(
            f"{in_the_body} of {person['email']}, {person['event_location']}, {person['gift_message']}, {said}, {ref},"
            f" {plain(config.metrics_token)}, {plain(config.mail_url)}, {len(local)},"
            f" {planted.address('the text of an error')}"
        )
        error.add_note(f"said by {planted.address('a note on an error')}")
        raise error from KeyError(planted.token("the cause of an error"))


def plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def plant_in_logs(planted: Planted, code: str) -> None:
    log.info("An argument of a line: %s", planted.address("an argument of a log line"))
    log.info("A line with {'access_code': '%s'}", planted.words("a dictionary in a log line"))
    log.info(f"A line about {planted.token('a log line')}")  # noqa: G004  a careless log call
    log.info("What the body said: %s", code)
    log.warning("More", extra={"customer_email": planted.words("extra data of a log line")})
    log.warning("More", extra={"payload": {"headers": [("Cookie", planted.words("headers in extra data"))]}})
    error = RuntimeError(f"password={planted.words('the text of an error that is logged')}")
    log.warning("It failed", exc_info=error)
    log.warning(f"signature={planted.words('a signature in a log line')}&shop=a")  # noqa: G004  a careless log call


def plant_in_reports(planted: Planted) -> None:
    sentry_sdk.add_breadcrumb(message=planted.token("a breadcrumb"), data={"x": [planted.key("a breadcrumb's data")]})
    sentry_sdk.set_context("order", {"deep": {"er": {"purchaser": planted.words("a context")}}})
    sentry_sdk.set_tag("who", planted.address("a tag"))
    sentry_sdk.get_isolation_scope().set_extra("hmac", planted.words("an extra"))
    sentry_sdk.set_user({"email": planted.address("a user"), "username": planted.words("a user's name")})


async def plant_in_spans(planted: Planted, request: Request) -> None:
    with sentry_sdk.start_span(op="x", name=f"GET /?grant={planted.word('the name of a span')}") as span:
        span.set_data("http.request.header.authorization", planted.words("a span's data"))
        span.set_data("list", [{"token": planted.words("nested data of a span")}])
        span.set_tag("recipient", planted.address("a span's tag"))
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as http:
        url = f"https://a.myshopify.com/x?access_token={planted.word('the query of a call')}"
        await http.get(url, headers={"X-Shopify-Access-Token": planted.token("a header of a call")})
    async with request.app.state.app_state.resources.db.transaction() as session:
        await session.execute(text(f"SELECT '{planted.address('an SQL statement')}'"))
    street = planted.words("what PostgreSQL quotes of a row")
    with pytest.raises(IntegrityError) as refused:
        await insert_twice(request.app.state.app_state.resources, street)
    assert street in str(refused.value)
    log.warning("The database refused", exc_info=refused.value)


async def insert_twice(resources: Resources, street: str) -> None:
    async with resources.db.transaction() as session:
        await session.execute(text("CREATE TEMPORARY TABLE streets (street text UNIQUE) ON COMMIT DROP"))
        await session.execute(text("INSERT INTO streets VALUES (:street), (:street)"), {"street": street})


def everything_of(answer: httpx.Response) -> str:
    return answer.text + str(answer.headers)


async def test_secrets_of_thirty_places_reach_no_log_metric_or_sentry_event(
    client: httpx.AsyncClient, sentry: SentryListener, planted: Planted, lines: list[StringIO]
) -> None:
    headers = {
        "Authorization": f"Bearer {planted.words('the header Authorization')}",
        "Cookie": f"session={planted.digest('the header Cookie')}",
        "X-API-Key": planted.words("the header X-API-Key"),
        "X-Registry-Grant": planted.digest("the header X-Registry-Grant"),
        "X-Forwarded-For": planted.address("an odd header"),
        "User-Agent": planted.address("the header User-Agent"),
    }
    body = {
        "access_code": planted.words("an access code in the body"),
        "people": [
            {
                "email": planted.address("an e-mail in the body"),
                "event_location": planted.words("a street in the body"),
                "gift_message": planted.words("a gift message in the body"),
            }
        ],
    }
    query = {"signature": planted.word("the query's signature"), "grant": planted.word("the query's grant")}
    ref = planted.token("the path")
    link = planted._plant("the link of an invitation", make_token(7, secrets.token_bytes(32)))
    answers = [
        await client.post(f"/api/planted/{ref}", params=query, headers=headers, json=body),
        await client.post("/api/registries", params=query, headers=headers, json=body),
        await client.get(f"/api/unsubscribe/{secrets.token_urlsafe(72)}", params=query, headers=headers),
        await client.post(f"/api/invitations/{link}", headers=headers),
        await client.get("/health", headers=headers),
        await client.get("/metrics", headers=headers),
    ]
    assert answers[0].status_code == 500
    sentry_reports.flush()
    logged = [stream.getvalue() for stream in lines]
    everything = sentry.raw.decode() + "".join(logged) + "".join(map(everything_of, answers))
    assert len(planted.by_place) >= 30
    assert planted.found_in(everything) == {}
    # The events and lines did arrive: only the values were redacted.
    assert "What the body said: [redacted]" in logged[0]
    assert "What the body said: [redacted]" in logged[1]
    assert sentry.errors()[0][0] == "ValueError"
    assert {kind for kind, _ in sentry.items} >= {"event", "transaction"}


@pytest.mark.parametrize("depth", [900, 50_000])
def test_body_that_is_nested_deeply_can_be_redacted(depth: int) -> None:
    """Without its secrets no line of a request is logged, and the request fails with what it was about to log."""
    body = b"[" * depth + b'"tulip-canoe"' + b"]" * depth

    def collect(frames: int) -> frozenset[str]:
        return collect(frames - 1) if frames else RequestSecrets({"headers": [], "query_string": b""}, [body])()

    assert any("tulip-canoe" in secret for secret in collect(60))
