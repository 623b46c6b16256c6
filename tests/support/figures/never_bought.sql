SELECT * FROM (
    SELECT shop, currency, row_number() OVER (
            PARTITION BY shop, currency ORDER BY registries DESC, wanted DESC, product_id, variant_id
        ) AS rank, product_id, variant_id, product_title, variant_title, registries, wanted, bought, sold, value
    FROM products WHERE sold = 0 AND registries > 0
) AS ranked
WHERE rank <= %(limit)s ORDER BY shop, currency, rank
