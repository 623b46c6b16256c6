"""What is wrong with a value that Pydantic refuses, and what to send: in requests, settings and parameters of jobs.

Pydantic's own sentences describe its types to a programmer. No text quotes the value, which may be personal data.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

from wishcraft.domain.text_forms import FAULTS

MISSING: Final = "is missing"
_UNKNOWN: Final = "is unknown"
_WHOLE_NUMBER: Final = "must be a whole number such as 2"
_NUMBER: Final = "must be a number such as 0.5"
_DATE: Final = "must be a date of the calendar, such as 2027-06-12"
_TIME: Final = "must be a time of the calendar with its offset, such as 2027-06-12T08:00:00Z"
_TRUTH: Final = "must be true or false"
_OBJECT: Final = 'must be a JSON object, such as {{"name": "value"}}'
_LIST: Final = "must be a list in square brackets"
_CHOICE: Final = "must be one of {expected}"
TEXTS: Final[Mapping[str, str]] = {
    "missing": MISSING,
    "missing_argument": MISSING,
    "extra_forbidden": _UNKNOWN,
    "unexpected_keyword_argument": _UNKNOWN,
    "string_type": "must be a text in quotes",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_unicode": "has half of a surrogate pair, such as \\ud83c without its other half: send whole characters",
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_parsing_size": "has too many digits",
    "int_from_float": _WHOLE_NUMBER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "finite_number": "must be a finite number",
    "bool_type": _TRUTH,
    "bool_parsing": _TRUTH,
    "enum": _CHOICE,
    "literal_error": _CHOICE,
    "list_type": _LIST,
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have {max_length} entries or fewer",
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "date_type": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
    "datetime_from_date_parsing": _TIME,
}
"""By Pydantic's type of error, with the names of its context."""
_LEAST: Final = ("must be {bound} or more", "must be {bound} or later")
_MOST: Final = ("must be {bound} or less", "must be {bound} or earlier")
BOUNDS: Final[Mapping[str, tuple[str, tuple[str, str]]]] = {
    "greater_than_equal": ("ge", _LEAST),
    "less_than_equal": ("le", _MOST),
    "greater_than": ("gt", ("must be more than {bound}", "must be later than {bound}")),
}
"""By the type of error: the name of the bound, and the texts for a number and for a date."""
OTHER: Final = "is not valid here"
"""What is said of a type of error without a text, which no model has."""
_LONGEST_NAME: Final = 60
"""Names that are longer are like no known one."""
_VALUE_ERROR: Final = "Value error, "
"""How Pydantic begins a text of our own validators."""
_UNQUOTED: Final = frozenset({"int_type", "bool_type"})
"""The types of errors of which a text may have the right value, in quotes."""


def explain(error: Mapping[str, Any], known: Sequence[str] = ()) -> str:
    """What is wrong with the value, in words that follow its name.

    Args:
        error: One of `ValidationError.errors()`.
        known: The names that there are where the error is about an unknown one.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(error["msg"]).removeprefix(_VALUE_ERROR)
    if kind == "string_pattern_mismatch":
        return FAULTS.get(context["pattern"], OTHER)
    if kind in BOUNDS:
        name, texts = BOUNDS[kind]
        bound = context[name]
        return texts[0].format(bound=f"{bound:,}") if isinstance(bound, int | float) else texts[1].format(bound=bound)
    if TEXTS.get(kind) == _UNKNOWN:
        return explain_unknown(str(error["loc"][-1]), known)
    text = TEXTS.get(kind, OTHER).format_map({name: str(value).replace("'", "") for name, value in context.items()})
    return f"{text}, without quotes" if kind in _UNQUOTED and isinstance(error.get("input"), str) else text


def explain_unknown(name: str, known: Sequence[str]) -> str:
    """That no such name is known, with the nearest one and all of them, in words that follow the name."""
    if not known:
        return _UNKNOWN
    nearest = get_close_matches(name, known, 1) if len(name) <= _LONGEST_NAME else []
    question = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"{_UNKNOWN}.{question} Known are {', '.join(known)}"


def known_names(model: Any, path: Sequence[str | int]) -> list[str]:
    """The names of the fields of the object at `path` in a model: all that a request can have there."""
    found = _find_model(model)
    for step in path:
        if found is None:
            return []
        if isinstance(step, str):
            field = found.model_fields.get(step)
            found = _find_model(field.annotation) if field else None
    return list(found.model_fields) if found else []


def _find_model(annotation: Any) -> type[BaseModel] | None:
    """The model that the annotation names, also within a list or beside None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in {list, Annotated, Union, UnionType}:
        return next(filter(None, map(_find_model, get_args(annotation))), None)
    return None
