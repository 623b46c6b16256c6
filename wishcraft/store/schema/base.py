"""Column types, constraint names and timestamps of all tables."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import BigInteger, Dialect, Enum, MetaData, Numeric, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class Base(DeclarativeBase):
    """Base of all tables: bigint integers, text without a length, `Numeric(15, 4)` money, aware times."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        Decimal: Numeric(15, 4),
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
        list[dict[str, Any]]: JSONB,
    }


class Timestamps:
    """Times of insertion and of the last update, by the database's clock."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


def choice(values: type[StrEnum]) -> Enum:
    """A text column with a check constraint for the enumeration's values; unlike a native enum, easy to extend."""
    return Enum(
        values,
        native_enum=False,
        create_constraint=True,
        length=32,
        name=values.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )


Model = TypeVar("Model", bound=BaseModel)


def load_valid(model: type[Model], stored: object) -> Model:
    """The stored JSON as the model. A value that the model refuses, or does not know, counts as its default.

    An older or a newer release, or a person with SQL, may have stored it: it must not stop the jobs and the API.
    """
    try:
        return model.model_validate(stored)
    except ValidationError as error:
        refused = {each["loc"][0] for each in error.errors() if each["loc"]}
    values = stored if isinstance(stored, dict) else {}
    return model.model_validate({name: value for name, value in values.items() if name not in refused})


class Validated(TypeDecorator[Model]):
    """A JSONB column that is a pydantic model in Python; each of its fields needs a default (see `load_valid`)."""

    impl = JSONB
    cache_ok = True

    def __init__(self, model: type[Model]) -> None:
        super().__init__()
        self.model = model

    def process_bind_param(self, value: Model | None, dialect: Dialect) -> dict[str, Any] | None:  # noqa: ARG002
        """Serialize the model to JSON."""
        return None if value is None else value.model_dump(mode="json")

    def process_result_value(self, value: object, dialect: Dialect) -> Model:  # noqa: ARG002
        """Load the valid values of the stored JSON."""
        return load_valid(self.model, value)
