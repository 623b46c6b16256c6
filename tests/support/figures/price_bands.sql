SELECT shop, currency, band, count(*) FILTER (WHERE status <> 'hidden') AS items, sum(wanted) AS wanted, sum(bought) AS bought, sum(sold) AS sold,
    sum(value) AS value, sum(bought)::float8 / nullif(sum(wanted), 0) AS sell_through
FROM item_sales
JOIN (VALUES
    (false, 0, 25, 'under 25'), (false, 25, 50, '25 to 50'), (false, 50, 100, '50 to 100'),
    (false, 100, 250, '100 to 250'), (false, 250, 'infinity'::numeric, '250 and over'),
    (true, 0, 2500, 'under 2,500'), (true, 2500, 5000, '2,500 to 5,000'), (true, 5000, 10000, '5,000 to 10,000'),
    (true, 10000, 25000, '10,000 to 25,000'), (true, 25000, 'infinity'::numeric, '25,000 and over')
) AS bands (without_cents, low, high, band) ON without_cents = (currency = 'JPY') AND price >= low AND price < high
GROUP BY shop, currency, band, low
HAVING count(*) FILTER (WHERE status <> 'hidden') + sum(sold) > 0
ORDER BY shop, currency, low
