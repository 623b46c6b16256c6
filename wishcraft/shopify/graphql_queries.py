"""Every GraphQL query and mutation of WishCraft; a test validates them against the official schema (2026-10)."""

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

DESCRIBE_VARIANTS: Final = f"""
query DescribeVariants($ids: [ID!]!) {{
  nodes(ids: $ids) {{ ... on ProductVariant {{ {_VARIANT_FIELDS}
    media(first: 1) {{ nodes {{ preview {{ image {{ url }} }} }} }}
    product {{ featuredMedia {{ preview {{ image {{ url }} }} }} }}
  }} }}
}}
"""
"""Read for what is not known when an item is added or products are looked up; the product's image serves variants
without their own."""

ALL_VARIANTS: Final = f"""
{{ productVariants {{ edges {{ node {{ {_VARIANT_FIELDS} }} }} }} }}
"""
"""The query of a bulk operation, which ignores paging arguments."""

_LINE_FIELDS: Final = """
    id title quantity currentQuantity
    variant { id }
    originalUnitPriceSet { shopMoney { amount } }
    customAttributes { key value }
"""

ORDERS_PER_PAGE: Final = 15
"""Of 57 points each, so that a query stays below the limit of 1,000 points."""
LINES_PER_ORDER: Final = 10
"""Most orders have no more; of the others, the rest is read order by order."""

READ_ORDERS: Final = f"""
query ReadOrders($query: String!, $first: Int!, $after: String, $people: Boolean!) {{
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {{
    nodes {{
      id name createdAt updatedAt cancelledAt test displayFinancialStatus
      email @include(if: $people)
      billingAddress @include(if: $people) {{ firstName lastName }}
      customAttributes {{ key value }}
      refunds {{ id }}
      lineItems(first: {LINES_PER_ORDER}) {{ nodes {{ {_LINE_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }}
    }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}
"""
"""It asks for no customer, which would need a scope of its own; with `people`, the app needs access to protected data.
Orders of every status are among the answers."""

READ_ORDER_LINES: Final = f"""
query ReadOrderLines($id: ID!, $after: String) {{
  order(id: $id) {{
    updatedAt
    lineItems(first: 75, after: $after) {{ nodes {{ {_LINE_FIELDS} }} pageInfo {{ hasNextPage endCursor }} }}
  }}
}}
"""

FIND_ORDERS: Final = """
query FindOrders($ids: [ID!]!) {
  nodes(ids: $ids) { ... on Order { id } }
}
"""

READ_LEVELS: Final = """
query ReadLevels($ids: [ID!]!, $first: Int!, $after: String) {
  nodes(ids: $ids) { ... on InventoryItem {
    id
    inventoryLevels(first: $first, after: $after) {
      nodes { updatedAt location { id } quantities(names: ["available"]) { name quantity } }
      pageInfo { hasNextPage endCursor }
    }
  } }
}
"""

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

READ_SHOP: Final = """
query ReadShop {
  shop { name email currencyCode ianaTimezone plan { publicDisplayName } }
}
"""

QUERIES: Final = (
    READ_VARIANTS, DESCRIBE_VARIANTS, ALL_VARIANTS, READ_ORDERS, READ_ORDER_LINES, FIND_ORDERS, READ_LEVELS,
    START_BULK_QUERY, READ_BULK_OPERATION, READ_SHOP,
)  # fmt: skip
