-- Newcombe's interval from the Wilson intervals of both shares; Welch's standard error of both means. At 95 %%.
WITH eligible AS (
    SELECT shop, event_type, (
            SELECT coalesce(sum(quantity), 0) FROM live
            WHERE live.registry_id = chosen.registry_id AND day BETWEEN event_date - 7 AND event_date - 5
        )::float8 AS units, EXISTS (
            SELECT FROM public.reminders AS reminder
            WHERE reminder.registry_id = chosen.registry_id AND reminder.event_date = chosen.event_date
                AND reminder.kind = '7_days' AND reminder.state = 'sent'
        ) AS is_reminded
    FROM chosen
    WHERE status <> 'archived' AND created_on < event_date - 7
        AND event_date - 5 < least(
            (%(now)s::timestamptz AT TIME ZONE 'Etc/GMT+12')::date, %(happened_last)s::date + 1
        )
), grouped AS (
    SELECT {each} count(*) FILTER (WHERE is_reminded) AS n1, count(*) FILTER (WHERE NOT is_reminded) AS n2,
        avg(units) FILTER (WHERE is_reminded) AS mean1, avg(units) FILTER (WHERE NOT is_reminded) AS mean2,
        var_samp(units) FILTER (WHERE is_reminded) AS variance1, var_samp(units) FILTER (WHERE NOT is_reminded) AS variance2,
        avg((units > 0)::int::float8) FILTER (WHERE is_reminded) AS p1,
        avg((units > 0)::int::float8) FILTER (WHERE NOT is_reminded) AS p2, 1.959963984540054::float8 AS z
    FROM eligible GROUP BY GROUPING SETS (({by}))
), bounded AS (
    SELECT *, CASE WHEN n1 >= 30 AND n2 >= 30 THEN z * sqrt(variance1 / n1 + variance2 / n2) END AS margin,
        CASE WHEN n1 >= 2 AND n2 >= 2 THEN sqrt((p1 - middle1 + half1) ^ 2 + (middle2 + half2 - p2) ^ 2) END AS below,
        CASE WHEN n1 >= 2 AND n2 >= 2 THEN sqrt((middle1 + half1 - p1) ^ 2 + (p2 - middle2 + half2) ^ 2) END AS above
    FROM grouped
    CROSS JOIN LATERAL (
        SELECT (p1 + z ^ 2 / (2 * n1)) / (1 + z ^ 2 / n1) AS middle1, (p2 + z ^ 2 / (2 * n2)) / (1 + z ^ 2 / n2) AS middle2,
            z / (1 + z ^ 2 / n1) * sqrt(p1 * (1 - p1) / n1 + z ^ 2 / (4 * n1 ^ 2)) AS half1,
            z / (1 + z ^ 2 / n2) * sqrt(p2 * (1 - p2) / n2 + z ^ 2 / (4 * n2 ^ 2)) AS half2
        FROM (SELECT nullif(grouped.n1, 0)::float8 AS n1, nullif(grouped.n2, 0)::float8 AS n2) AS sizes
    ) AS wilson
)
SELECT {each} n1 AS reminded, n2 AS not_reminded,
    mean1 AS units_reminded, mean2 AS units_not_reminded, mean1 - mean2 AS units_difference,
    mean1 - mean2 - margin AS units_low, mean1 - mean2 + margin AS units_high,
    p1 AS share_reminded, p2 AS share_not_reminded, p1 - p2 AS share_difference,
    p1 - p2 - below AS share_low, p1 - p2 + above AS share_high,
    CASE WHEN margin IS NULL THEN 'too few to tell' WHEN mean1 - mean2 > margin THEN 'more'
        WHEN mean2 - mean1 > margin THEN 'less' ELSE 'no difference to be seen' END AS finding
FROM bounded ORDER BY {each} 1
