"""The simulator's GraphQL schema, and validation of documents."""

from functools import lru_cache
from pathlib import Path
from typing import Final

from graphql import DocumentNode, GraphQLSchema, GraphQLSyntaxError, build_schema, parse, validate

from deployments.sandbox.shopify.error_response import ErrorResponse

SCHEMA: Final[GraphQLSchema] = build_schema(Path(__file__).with_name("schema.graphql").read_text(encoding="utf-8"))


@lru_cache(maxsize=256)
def parse_and_validate(document: str) -> DocumentNode:
    """Parse and validate a document; cached.

    Raises:
        ErrorResponse: The document is invalid.
    """
    try:
        parsed = parse(document)
    except GraphQLSyntaxError as error:
        raise ErrorResponse.invalid([error]) from None
    errors = validate(SCHEMA, parsed)
    if errors:
        raise ErrorResponse.invalid(errors)
    return parsed
