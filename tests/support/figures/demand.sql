-- `greatest` and `least` ignore NULL.
WITH usual AS (
    SELECT lead_week, sum(bought)::float8 / nullif(sum(open), 0)::float8 AS rate FROM lead GROUP BY lead_week
), rated AS (
    SELECT open_items.*, (coalesce(lead.bought, 0) + 50 * usual.rate) / (coalesce(lead.open, 0) + 50) AS rate
    FROM open_items LEFT JOIN lead USING (event_type, lead_week) LEFT JOIN usual USING (lead_week)
), titled AS (
    SELECT shop, product_id, variant_id, product_title, variant_title, sum(registries) AS alike
    FROM rated GROUP BY shop, product_id, variant_id, product_title, variant_title
), variants AS (
    SELECT shop, product_id, variant_id, sum(registries) AS registries, sum(open) AS open,
        CASE WHEN count(rate) = count(*) THEN sum(open * rate) END AS expected,
        1.2815515655446004 * sqrt(sum(open * rate * (1 - rate))) AS margin
    FROM rated GROUP BY shop, product_id, variant_id
), forecast AS (
    SELECT variants.*, product_title, variant_title, stock,
        greatest(expected - margin, 0) AS low,
        least(expected + margin, open) AS high
    FROM variants
    CROSS JOIN LATERAL (
        SELECT product_title, variant_title FROM titled
        WHERE (shop, product_id, variant_id) = (variants.shop, variants.product_id, variants.variant_id)
        ORDER BY alike DESC, product_title, variant_title LIMIT 1
    ) AS titles
    LEFT JOIN stock USING (shop, variant_id)
)
SELECT shop, product_id, variant_id, product_title, variant_title, registries, open, expected, low, high, stock,
    CASE WHEN expected - stock IS NOT NULL THEN greatest(expected - stock, 0) END AS short,
    CASE WHEN stock IS NOT NULL THEN greatest(open - stock, 0) END AS short_if_all,
    CASE WHEN stock IS NULL THEN 'not limited' WHEN stock < 1 THEN 'out of stock' WHEN stock < low THEN 'will run out'
        WHEN stock < high THEN 'may run out' ELSE 'enough' END AS verdict
FROM forecast
ORDER BY shop, product_id, variant_id
