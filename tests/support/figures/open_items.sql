-- Open units for coming events.
SELECT shop, product_id, variant_id, product_title, variant_title, event_type,
    (event_date - %(today)s::date) / 7 AS lead_week, count(DISTINCT registry_id) AS registries,
    sum(wanted - bought)::bigint AS open
FROM item_sales
WHERE status NOT IN ('discontinued', 'hidden') AND registry_status = 'active' AND wanted > bought
    AND event_date >= %(today)s::date AND event_date < %(today)s::date + 7 * %(weeks)s::int
GROUP BY shop, product_id, variant_id, product_title, variant_title, event_type, lead_week
ORDER BY shop, product_id, variant_id, product_title, variant_title, event_type, lead_week
