"""Every refusal of a value by Pydantic is in our words: requests, settings of shops and of the service, jobs."""

import inspect
import re
from collections.abc import Iterable, Iterator
from datetime import date
from importlib import import_module
from itertools import chain
from types import ModuleType
from typing import Annotated, Any, Final

import pytest
import yaml
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, validate_call
from starlette.routing import BaseRoute, Route

from api.app import create_app
from api.schemas import requests
from api.schemas.requests import RequestModel
from deployments.sandbox.mail_faults import AddressFaultSetting
from deployments.sandbox.mail_providers import provider
from deployments.sandbox.mailbox import app as mailbox
from deployments.sandbox.mailbox.messages import FaultKind
from deployments.sandbox.processes import ROOT
from deployments.sandbox.shopify import control, shopping_control
from deployments.sandbox.shopify.app import create_app as create_simulator
from wishcraft.domain.text_forms import FAULTS
from wishcraft.invalid_values import BOUNDS, OTHER, TEXTS, explain, known_names
from wishcraft.settings import Settings

ITSELF: Final = {"value_error", "string_pattern_mismatch"}
"""Types of errors whose texts are elsewhere: in our validators, and by the pattern."""
WRONG: Final[list[Any]] = [
    None, True, 2, -1, 0, 1.5, float("nan"), float("inf"), 10**30, b"x" * 3, "", " ", "x", "x" * 5_000, "\ud800", "\0",
    "2", "1.0", "yes", "9" * 5_000, "1" * 60, "gid://shopify/Product/1",
    f"gid://shopify/ProductVariant/{'1' * 5_000}", "2027-02-30", "9999-12-31", "1000-01-01",
    "2027-06-12T25:00:00Z", "2027-06-12T08:00:00", "2027-02-30T08:00:00Z", "red", [], [[]], ["x"], ["\ud800"],
    [1] * 600, {}, {"x": 1}, {"title": 5}, {"events": [{}]},
]  # fmt: skip
PYDANTICS: Final = (
    "Input should", "should be", "should have", "should match", "should contain", "unable to", "Field required",
    "Extra inputs", "permitted", "argument", "instance", "dictionary", "datetime", "parse", "Exceeds",
)  # fmt: skip
"""Parts of Pydantic's and Python's sentences."""


def models(module: ModuleType = requests) -> list[type[BaseModel]]:
    """The models of all request bodies, with those inside them."""
    found = [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__]
    return [each for each in found if issubclass(each, BaseModel) and each is not RequestModel]


def refusals(adapter: TypeAdapter[Any], values: list[Any]) -> Iterator[dict[str, Any]]:
    """The errors of the values."""
    for value in values:
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            yield from map(dict, error.errors())


def of_bodies() -> Iterator[dict[str, Any]]:
    """The errors of request bodies, whole and field by field; also of the sandbox's servers."""
    modules = (requests, control, shopping_control, mailbox, provider)
    bodies: list[type[BaseModel]] = [AddressFaultSetting[FaultKind], *chain.from_iterable(map(models, modules))]
    for model in bodies:
        adapter = TypeAdapter(model)
        fields = [{name: value} for name in model.model_fields for value in WRONG]
        yield from refusals(adapter, [*WRONG, *fields])


def of_routes(app: FastAPI) -> Iterator[dict[str, Any]]:
    """The errors of bodies of all routes, as FastAPI reads them, and of parameters and headers, which are texts."""
    texts = [each for each in WRONG if isinstance(each, str)]
    for route in routes_in(app.routes):
        if body := getattr(route, "body_field", None):
            for value in WRONG:
                yield from body.validate(value, {}, loc=("body",))[1] or ()
        for dependant in dependants(getattr(route, "dependant", None)):
            for field in (*dependant.query_params, *dependant.path_params, *dependant.header_params):
                for text in (*texts, [*texts]):
                    yield from field.validate(text, {}, loc=("query", field.alias))[1] or ()


def routes_in(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """The routes, with those of included routers."""
    for route in routes:
        if isinstance(route, Route):
            yield route
        elif router := getattr(route, "original_router", None):
            yield from routes_in(router.routes)


def dependants(dependant: Dependant | None) -> Iterator[Dependant]:
    """What a route depends on."""
    if dependant is not None:
        yield dependant
        for each in dependant.dependencies:
            yield from dependants(each)


def of_jobs() -> Iterator[dict[str, Any]]:
    """The errors of parameters of all jobs."""
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        function = getattr(import_module(module), name).fn
        for parameter in inspect.signature(function).parameters.values():
            yield from refusals(TypeAdapter(parameter.annotation), WRONG)


def of_calls() -> Iterator[dict[str, Any]]:
    """The errors of the names of a job's parameters."""

    @validate_call
    def run(shop: str, *, since: date | None = None) -> None:
        assert shop or since

    for given in ({}, {"shop": "a", "shops": "b"}):
        with pytest.raises(ValidationError) as refused:
            run(**given)  # type: ignore[arg-type]
        yield from map(dict, refused.value.errors())


def of_settings() -> Iterator[dict[str, Any]]:
    """The errors of environment variables."""
    for name, field in Settings.model_fields.items():
        kind: Any = Annotated[field.annotation, Field(), *field.metadata]
        adapter = TypeAdapter[Any](kind)
        for error in refusals(adapter, [each for each in WRONG if isinstance(each, str)]):
            yield error | {"loc": (name,)}
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate({"unknown": 1})
    yield from map(dict, refused.value.errors())


def test_no_refusal_has_a_sentence_of_pydantic(settings: Settings) -> None:
    servers = create_app(settings), create_simulator(), mailbox.create_app()
    found = [*of_bodies(), *chain.from_iterable(map(of_routes, servers)), *of_jobs(), *of_calls(), *of_settings()]
    kinds = {error["type"] for error in found}
    assert len(found) > 2_000
    assert kinds <= TEXTS.keys() | BOUNDS.keys() | ITSELF
    assert not sorted((TEXTS.keys() | BOUNDS.keys()) - kinds)  # no text is for an error that no value has
    texts = {explain(error) for error in found} | {explain(error, ["title", "x1"]) for error in found}
    assert not [text for text in texts if any(part in text for part in PYDANTICS)]
    assert OTHER not in texts
    assert not [text for text in texts if re.search(r"{(?!slug|shop|.name)", text)]


def test_every_pattern_has_a_text(settings: Settings) -> None:
    """Also one that no value of this test violates alone."""
    document = create_app(settings).openapi()
    patterns = set(patterns_in(document["paths"], of_responses=False))
    for model in models():
        patterns |= set(patterns_in(model.model_json_schema()))
    patterns -= {pattern for pattern in patterns if pattern.startswith(("^https://", "^(?!^[-+.]*$)[+-]?0*"))}
    assert len(patterns) >= 8
    assert patterns <= FAULTS.keys()


def patterns_in(schema: Any, *, of_responses: bool = True) -> Iterator[str]:
    """The patterns of a schema and of all its parts."""
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for name, part in schema.items():
            if of_responses or name != "responses":
                yield from patterns_in(part, of_responses=of_responses)
    elif isinstance(schema, list):
        for part in schema:
            yield from patterns_in(part, of_responses=of_responses)


class Person(BaseModel):
    email: str = ""


class Registry(BaseModel):
    title: str = ""
    owner: Person | None = None
    guests: Annotated[list[Person], Field(max_length=4)] = []


@pytest.mark.parametrize(
    ("model", "path", "names"),
    [
        (Registry, [], ["title", "owner", "guests"]),
        (Registry | None, [], ["title", "owner", "guests"]),
        (Registry, ["owner"], ["email"]),
        (Registry, ["guests", 0], ["email"]),
        (Registry, ["title"], []),
        (Registry, ["nothing", "more"], []),
        (None, [], []),
    ],
)
def test_known_names_are_those_of_the_object_at_the_path(model: Any, path: list[str | int], names: list[str]) -> None:
    assert known_names(model, path) == names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("titel", "is unknown. Did you mean title? Known are title, notes"),
        ("colour", "is unknown. Known are title, notes"),
        ("title" * 50, "is unknown. Known are title, notes"),
    ],
)
def test_unknown_name_is_answered_with_the_nearest_and_all_known(name: str, text: str) -> None:
    assert explain({"type": "extra_forbidden", "loc": ("body", name)}, ["title", "notes"]) == text


@pytest.mark.parametrize(("kind", "other"), [("int_type", True), ("bool_type", 1)])
def test_only_a_value_in_quotes_is_asked_for_without_them(kind: str, other: object) -> None:
    assert explain({"type": kind, "loc": ("body", "x"), "input": "2"}).endswith(", without quotes")
    assert not explain({"type": kind, "loc": ("body", "x"), "input": other}).endswith(", without quotes")


@pytest.mark.parametrize("model", models())
def test_number_of_a_body_is_neither_a_text_nor_true(model: type[BaseModel]) -> None:
    numbers = [
        name
        for name, field in model.model_json_schema()["properties"].items()
        if any("integer" in each.get("type", ()) for each in (field, *field.get("anyOf", ())))
    ]
    for name in numbers:
        texts = () if name == "variant_id" else ("2",)  # themes keep ids in attributes of HTML, which are texts
        for value in (*texts, True, 2.0):
            errors = refusals(TypeAdapter(model), [{name: value}])
            assert name in {error["loc"][0] for error in errors}, (name, value)
