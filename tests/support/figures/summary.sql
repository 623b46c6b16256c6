SELECT {each} count(*) AS registries, coalesce(sum(gifts), 0) AS gifts, coalesce(sum(guests), 0) AS guests,
    coalesce(sum(value_e4), 0) / 10000 AS value,
    sum(value_e4) / 10000 / count(*) AS per_registry,
    sum(value_e4) / 10000 / nullif(sum(gifts), 0) AS per_gift,
    sum(value_e4) / 10000 / nullif(sum(guests), 0) AS per_guest,
    count(*) FILTER (WHERE completed) AS completed, avg(completed::int) AS completed_share,
    coalesce(sum(wanted), 0) AS wanted, coalesce(sum(bought), 0) AS bought,
    sum(bought) / nullif(sum(wanted), 0) AS fulfilment,
    percentile_cont(0.25) WITHIN GROUP (ORDER BY days_to_complete) AS days_p25,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY days_to_complete) AS days_median,
    percentile_cont(0.75) WITHIN GROUP (ORDER BY days_to_complete) AS days_p75,
    avg(guests) AS guests_mean, percentile_cont(0.5) WITHIN GROUP (ORDER BY guests) AS guests_median,
    max(guests) AS guests_max, avg((guests = 0)::int) AS without_guests
FROM fulfilled
GROUP BY GROUPING SETS (({by}))
ORDER BY {each} 1
