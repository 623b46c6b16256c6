WITH visits AS (
    SELECT registry_id, visitor_id, date_trunc('week', occurred_at AT TIME ZONE timezone) AS week, max(
            array_position(ARRAY['registry_viewed', 'item_clicked', 'added_to_cart', 'purchased'], type::text)
        ) AS furthest
    FROM public.analytics_events JOIN chosen USING (registry_id)
    WHERE (occurred_at AT TIME ZONE timezone)::date
        BETWEEN coalesce(%(happened_first)s::date, '-infinity') AND coalesce(%(happened_last)s::date, 'infinity')
    GROUP BY registry_id, visitor_id, week
), steps AS (
    SELECT {each} count(*) AS viewed, count(*) FILTER (WHERE furthest >= 2) AS clicked,
        count(*) FILTER (WHERE furthest >= 3) AS in_cart, count(*) FILTER (WHERE furthest >= 4) AS purchased
    FROM visits JOIN chosen USING (registry_id)
    GROUP BY GROUPING SETS (({by}))
)
SELECT *, clicked::float8 / nullif(viewed, 0) AS click_rate, in_cart::float8 / nullif(clicked, 0) AS cart_rate,
    purchased::float8 / nullif(in_cart, 0) AS purchase_rate, purchased::float8 / nullif(viewed, 0) AS conversion,
    (
        SELECT change FROM (VALUES
            (1, 'viewed → clicked', clicked, viewed), (2, 'clicked → in_cart', in_cart, clicked),
            (3, 'in_cart → purchased', purchased, in_cart)
        ) AS changes (place, change, took, came)
        WHERE took < came ORDER BY took::numeric / came, place LIMIT 1
    ) AS gives_up
FROM steps ORDER BY {each} 1
