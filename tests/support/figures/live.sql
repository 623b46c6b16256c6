-- Their live purchases, each with its day in the shop's time zone and the cumulative quantity of its item.
SELECT purchase.*, (purchase.created_at AT TIME ZONE chosen.timezone)::date AS day,
    sum(purchase.quantity) OVER (PARTITION BY purchase.item_id ORDER BY purchase.created_at) AS so_far
FROM public.purchases AS purchase JOIN chosen USING (registry_id)
WHERE purchase.status IN ('pending', 'confirmed')
