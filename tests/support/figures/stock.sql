-- The stock of each variant's newest item; NULL if it cannot run out.
SELECT DISTINCT ON (shop, item_sales.variant_id) shop, item_sales.variant_id, item_id,
    CASE WHEN tracked AND inventory_policy = 'deny' THEN inventory_quantity END AS stock
FROM item_sales JOIN public.registry_items AS item ON item.id = item_id
WHERE item_sales.status NOT IN ('discontinued', 'hidden') AND registry_status = 'active'
ORDER BY shop, item_sales.variant_id, item_id DESC
