SELECT * FROM (
    SELECT shop, currency, row_number() OVER (
            PARTITION BY shop, currency ORDER BY {by} DESC, registries DESC, product_id, variant_id
        ) AS rank, product_id, variant_id, product_title, variant_title, registries, wanted, bought, sold, value
    FROM products WHERE {by} > 0
) AS ranked
WHERE rank <= %(limit)s ORDER BY shop, currency, rank
