-- The registries in the filter, with the columns of their shops.
SELECT registry.id AS registry_id, shop.domain COLLATE "C" AS shop, shop.currency COLLATE "C" AS currency,
    shop.timezone, registry.event_type COLLATE "C" AS event_type, registry.status, registry.created_at,
    registry.event_date, (registry.created_at AT TIME ZONE shop.timezone)::date AS created_on
FROM public.registries AS registry JOIN public.shops AS shop ON shop.id = registry.shop_id
WHERE (cardinality(%(shops)s::text[]) = 0 OR shop.domain = ANY(%(shops)s::text[]))
    AND (cardinality(%(event_types)s::text[]) = 0 OR registry.event_type = ANY(%(event_types)s::text[]))
    AND (registry.created_at AT TIME ZONE shop.timezone)::date
        BETWEEN coalesce(%(created_first)s::date, '-infinity') AND coalesce(%(created_last)s::date, 'infinity')
