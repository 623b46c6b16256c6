-- A variant has the titles of the most registries.
SELECT shop, currency, product_id, variant_id, (array_agg(product_title ORDER BY usual))[1] AS product_title,
    (array_agg(variant_title ORDER BY usual))[1] AS variant_title, count(*) FILTER (WHERE status <> 'hidden') AS registries,
    sum(wanted) AS wanted, sum(bought) AS bought, sum(sold) AS sold, sum(value) AS value
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY shop, currency, product_id, variant_id ORDER BY alike DESC, product_title, variant_title
    ) AS usual
    FROM (
        SELECT *, count(*) FILTER (WHERE status <> 'hidden') OVER (
            PARTITION BY shop, currency, product_id, variant_id, product_title, variant_title
        ) AS alike
        FROM item_sales
    ) AS titled
) AS ordered
GROUP BY shop, currency, product_id, variant_id
