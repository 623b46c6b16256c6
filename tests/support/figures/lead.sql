-- Past events: units open some weeks before, and how many of them were bought since.
SELECT event_type, lead_week, sum(open) AS open, sum(least(open, during)) AS bought
FROM (
    SELECT event_type, lead_week,
        coalesce(sum(quantity) FILTER (WHERE day BETWEEN began AND event_date), 0) AS during,
        CASE WHEN created_on < began
            THEN greatest(wanted - coalesce(sum(quantity) FILTER (WHERE day < began), 0), 0) ELSE 0
        END AS open
    FROM item_sales CROSS JOIN generate_series(0, 25) AS lead_week
    CROSS JOIN LATERAL (SELECT event_date - (7 * lead_week + 6) AS began) AS week
    LEFT JOIN live USING (item_id)
    WHERE item_sales.status NOT IN ('discontinued', 'hidden')
        AND event_date >= %(today)s::date - 365 AND event_date < %(today)s::date
    GROUP BY item_id, event_type, lead_week, wanted, created_on, began
) AS past
GROUP BY event_type, lead_week ORDER BY event_type, lead_week
