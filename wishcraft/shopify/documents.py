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

DOCUMENTS: Final = (READ_VARIANTS, ALL_VARIANTS, START_BULK_QUERY, READ_BULK_OPERATION)
