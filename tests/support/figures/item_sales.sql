-- Their items with the sales of each (removed ones, which are hidden, want nothing), and the time at which it was bought in full.
SELECT item.id AS item_id, item.registry_id, chosen.shop, item.currency COLLATE "C" AS currency, chosen.event_type,
    chosen.event_date, chosen.status AS registry_status, item.product_id, item.variant_id,
    item.product_title COLLATE "C" AS product_title, item.variant_title COLLATE "C" AS variant_title,
    item.price, item.status, (item.created_at AT TIME ZONE chosen.timezone)::date AS created_on,
    CASE item.status WHEN 'hidden' THEN 0 ELSE item.quantity_wanted END AS wanted, coalesce(sales.sold, 0) AS sold,
    CASE item.status WHEN 'hidden' THEN 0 ELSE least(coalesce(sales.sold, 0), item.quantity_wanted) END AS bought, coalesce(sales.value, 0) AS value,
    sales.complete_at
FROM public.registry_items AS item JOIN chosen USING (registry_id)
LEFT JOIN (
    SELECT item_id, sum(quantity) AS sold, sum(quantity * unit_price) AS value,
        min(live.created_at) FILTER (WHERE so_far >= quantity_wanted) AS complete_at
    FROM live JOIN public.registry_items AS item ON item.id = item_id GROUP BY item_id
) AS sales ON sales.item_id = item.id
