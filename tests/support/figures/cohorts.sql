WITH created AS (
    SELECT registry_id, shop, date_trunc('month', created_on::timestamp) AS cohort,
        date_trunc('month', %(now)s::timestamptz AT TIME ZONE timezone) AS present
    FROM chosen WHERE created_at <= %(now)s::timestamptz
), by_age AS (
    SELECT created.*, month, place - 1 AS age
    FROM created CROSS JOIN LATERAL generate_series(cohort, present - interval '1 month', '1 month')
        WITH ORDINALITY AS months (month, place)
), bought AS (
    SELECT registry_id, month, row_number() OVER (PARTITION BY registry_id ORDER BY month) AS place FROM (
        SELECT DISTINCT registry_id, greatest(cohort, date_trunc('month', day::timestamp)) AS month
        FROM live JOIN created USING (registry_id) WHERE live.created_at <= %(now)s::timestamptz
    ) AS months
), counts AS (
    SELECT shop, cohort, age, count(*) AS registries, count(place) AS active, count(*) FILTER (WHERE place = 1) AS first
    FROM by_age LEFT JOIN bought USING (registry_id, month) GROUP BY shop, cohort, age
)
SELECT *, active::float8 / registries AS active_share,
    sum(first) OVER (PARTITION BY shop, cohort ORDER BY age) / registries AS bought_share
FROM counts ORDER BY shop, cohort, age
