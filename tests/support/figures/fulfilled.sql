-- The fulfilment of each registry.
SELECT registry_id, shop, currency, event_type, status, created_at, event_date, coalesce(items, 0) AS items,
    coalesce(wanted, 0) AS wanted, coalesce(bought, 0) AS bought, coalesce(surplus, 0) AS surplus,
    coalesce(completed, false) AS completed, CASE WHEN completed THEN complete_at END AS completed_at,
    CASE WHEN completed THEN extract(epoch FROM complete_at - created_at) / 86400 END AS days_to_complete,
    coalesce(guests, 0) AS guests, coalesce(gifts, 0) AS gifts, coalesce(10000 * value, 0) AS value_e4
FROM chosen
LEFT JOIN (
    SELECT registry_id, count(*) AS items, sum(wanted) AS wanted, sum(bought) AS bought, sum(sold - bought) AS surplus,
        bool_and(sold >= wanted) AS completed, max(complete_at) AS complete_at
    FROM item_sales WHERE item_sales.status <> 'hidden' GROUP BY registry_id
) AS wish USING (registry_id)
LEFT JOIN (
    SELECT registry_id, count(DISTINCT order_id) AS gifts, sum(quantity * unit_price) AS value,
        count(DISTINCT lower(purchaser_email))
            + count(DISTINCT purchaser_id) FILTER (WHERE purchaser_email IS NULL)
            + count(DISTINCT order_id) FILTER (WHERE purchaser_email IS NULL AND purchaser_id IS NULL) AS guests
    FROM live GROUP BY registry_id
) AS gift USING (registry_id)
ORDER BY shop, registry_id
