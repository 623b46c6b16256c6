"""A stand-in for Shopify's Admin GraphQL 2026-10, as strict and as limited as the original.

`python -m deployments.sandbox.shopify --help` lists its options. `app.create_app(Options(...))` is for tests.

A shop answers at `http://127.0.0.1:PORT/{shop}`, `{shop}` being its domain: `/admin/api/2026-10/graphql.json` and
`/admin/oauth/access_token` as at Shopify, and files of bulk operations under `/downloads/`. `GET /` shows all shops
to a person; `GET /shops` and `GET /health` are for programs. Beside the Admin API, for tests and demonstrations
(JSON, no authentication, under the shop's address):

- `GET /variants?limit=50&after=ID` what is sold; `GET /variants/ID` one variant, even if deleted
- `PATCH /variants/ID` `{price, compare_at_price, quantity, tracked, policy, product_active}`, each optional;
  a variant changed by hand is left alone by the tick that changes stock every few seconds
- `DELETE /variants/ID` and `POST /variants/ID/restore`
- `GET /faults` and `PUT /faults` `{kind, remaining, probability}`: `kind` as in `FaultKind`; `remaining` strikes,
  1 if absent, null for no end, 0 to switch it off; `probability` of a strike, 1 if absent
- `GET /requests` counters since the start (requests, throttled, points_spent, token_refreshes, bulk_operations,
  downloads) and the throttle status
- `PUT /rate-limit` `{enabled}`
"""
