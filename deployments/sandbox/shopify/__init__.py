"""A simulator of Shopify: the Admin GraphQL API 2026-10 with its limits, guests who shop, webhooks and an app proxy.

`python -m deployments.sandbox.shopify --help` lists its options; tests use `app.create_app(Options(...))`.

The base URL of a shop is `http://127.0.0.1:PORT/{domain}`. It has Shopify's `/admin/api/2026-10/graphql.json` and
`/admin/oauth/access_token`, and the files of bulk operations under `/downloads/`. `GET /` is a page for people;
`GET /shops` and `GET /health` are for programs. The control API (JSON, no authentication, under the base URL):

- `GET /variants?limit=50&after=ID` the variants; `GET /variants/ID` one variant, even if deleted
- `PATCH /variants/ID` `{product_title, variant_title, price, compare_at_price, quantity, tracked, policy,
  product_status}`, each optional; the tick, which changes stock every few seconds, does not change such a variant any
  more
- `DELETE /variants/ID` and `POST /variants/ID/restore`
- `GET /faults` and `PUT /faults` `{kind, remaining, probability}`: `kind` as in `FaultKind`; `remaining` requests
  (default 1; null: until removed; 0: remove); `probability` per request, default 1
- `GET /requests` the counters since the start (requests, throttled, points_spent, token_refreshes, bulk_operations,
  downloads) and the throttle status
- `PUT /rate-limit` `{enabled}`
- `GET /orders?limit=50` the newest orders; `POST /orders` `{lines: [{variant_id, quantity, registry_item, properties}],
  note_attributes, first_name, last_name, email, test}`, all but the lines and their variants optional
- `POST /orders/ID/edit` and `/refund` `{line_id, pieces}`, `POST /orders/ID/cancel`

`/apps/registry/*` under the base URL is the app proxy. Without a shop in front:

- `GET /shopping?limit=30` the rate, what guests did last, and the last webhooks; `PUT /shopping` `{per_minute}`
- `POST /shopping/flood` `{actions}`: guests do so much as fast as they can
- `PUT /shopping/habits` `{delayed, longest_delay, repeated, lost, compression}`, each optional, as in `Habits`
"""
