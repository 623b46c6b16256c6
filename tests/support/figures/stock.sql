-- Of each variant what its newest item says; nothing if it cannot run out.
SELECT DISTINCT ON (shop, wishes.variant_id) shop, wishes.variant_id, item_id,
    CASE WHEN tracked AND inventory_policy = 'deny' THEN inventory_quantity END AS stock
FROM wishes JOIN public.registry_items AS item ON item.id = item_id
WHERE wishes.status NOT IN ('discontinued', 'hidden') AND registry_status = 'active'
ORDER BY shop, wishes.variant_id, item_id DESC
