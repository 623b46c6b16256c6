"""Column types, constraint names and timestamps of all tables."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel
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


class Validated(TypeDecorator[Model]):
    """A JSONB column that is a pydantic model in Python, validated on the way in and on the way out."""

    impl = JSONB
    cache_ok = True

    def __init__(self, model: type[Model]) -> None:
        super().__init__()
        self.model = model

    def process_bind_param(self, value: Model | None, dialect: Dialect) -> dict[str, Any] | None:  # noqa: ARG002
        """Serialize the model to JSON."""
        return None if value is None else value.model_dump(mode="json")

    def process_result_value(self, value: dict[str, Any] | None, dialect: Dialect) -> Model | None:  # noqa: ARG002
        """Validate the stored JSON; raises `pydantic.ValidationError` if another program wrote an invalid value."""
        return None if value is None else self.model.model_validate(value)
