"""Every GraphQL document the project sends; a test holds them against the official schema of Admin GraphQL 2026-10."""

from typing import Final

_VARIANT_FIELDS: Final = """
    id title price compareAtPrice inventoryQuantity inventoryPolicy
    inventoryItem { id tracked }
    product { id handle title status }
"""

READ_VARIANTS: Final = f"""
query ReadVariants($ids: [ID!]!) {{
  nodes(ids: $ids) {{ ... on ProductVariant {{ {_VARIANT_FIELDS} }} }}
}}
"""

DESCRIBE_VARIANT: Final = f"""
query DescribeVariant($ids: [ID!]!) {{
  nodes(ids: $ids) {{ ... on ProductVariant {{ {_VARIANT_FIELDS}
    media(first: 1) {{ nodes {{ preview {{ image {{ url }} }} }} }}
    product {{ featuredMedia {{ preview {{ image {{ url }} }} }} }}
  }} }}
}}
"""
"""What is read of a variant once, when it is wished for; its own picture, and its product's where it has none."""

ALL_VARIANTS: Final = f"""
{{ productVariants {{ edges {{ node {{ {_VARIANT_FIELDS} }} }} }} }}
"""
"""What a bulk operation runs; paging arguments have no meaning there."""

START_BULK_QUERY: Final = """
mutation StartBulkQuery($query: String!) {
  bulkOperationRunQuery(query: $query, groupObjects: false) {
    bulkOperation { id }
    userErrors { field message code }
  }
}
"""

READ_BULK_OPERATION: Final = """
query ReadBulkOperation($id: ID!) {
  bulkOperation(id: $id) { id status errorCode url rootObjectCount }
}
"""

DOCUMENTS: Final = (READ_VARIANTS, DESCRIBE_VARIANT, ALL_VARIANTS, START_BULK_QUERY, READ_BULK_OPERATION)
