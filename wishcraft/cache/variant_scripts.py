"""The Lua scripts that Redis runs on the facts of one variant, each with its reason."""

from typing import Final

from wishcraft.cache.lua import Script

# A reading and an image each replace an older one only, and a reading alone keeps the image. Facts are stored only
# in the era in which Shopify was asked: after a restart, what was read before must not replace what was read since.
# They begin with nine bytes of format and era, then the times of reading and image in microseconds, eight each, and
# the image's length, four. Facts that have expired give up their places; there is none for new ones at the quota,
# which registries may fill alone.
STORE_FACTS: Final = Script(
    name="store_facts",
    keys=("facts", "variant_index", "variant_sizes", "index", "sizes", "era"),
    args=(
        "variant_id",
        "begin",
        "read_at",
        "reading",
        "image_read_at",
        "image",
        "ttl_ms",
        "max_entries",
        "max_bytes",
        "index_ttl_ms",
        "outdated",
    ),
    body="""
    if redis.call('HGET', era, 'era') ~= string.sub(begin, 2) then
        return 'other_era'
    end
    read_at, image_read_at = tonumber(read_at), tonumber(image_read_at)
    local has_newer = false
    local present = redis.call('GET', facts)
    if present and string.sub(present, 1, 9) == begin then
        local present_read_at, present_image_read_at, length = struct.unpack('>I8I8I4', present, 10)
        has_newer = present_read_at >= read_at
        local is_outdated = string.sub(present, 30 + length) == outdated
        if has_newer and (is_outdated or present_image_read_at >= image_read_at) then
            return 'newer_there'
        end
        if has_newer then
            read_at, reading = present_read_at, string.sub(present, 30 + length)
        end
        if present_image_read_at >= image_read_at then
            image_read_at, image = present_image_read_at, string.sub(present, 30, 29 + length)
        end
    end
    local function forget(variant)
        redis.call('ZREM', variant_index, variant)
        local size = redis.call('HGET', variant_sizes, variant)
        if size then
            redis.call('HINCRBY', variant_sizes, '', -tonumber(size))
            redis.call('HDEL', variant_sizes, variant)
        end
    end
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    for _, expired in ipairs(redis.call('ZRANGE', variant_index, '-inf', now, 'BYSCORE', 'LIMIT', 0, 5)) do
        forget(expired)
    end
    local others = redis.call('ZCARD', variant_index)
    if others == 0 then
        redis.call('DEL', variant_sizes)
    end
    if redis.call('ZSCORE', variant_index, variant_id) then
        others = others - 1
    end
    local packed = begin .. struct.pack('>I8I8I4', read_at, image_read_at, #image) .. image .. reading
    local growth = #packed - tonumber(redis.call('HGET', variant_sizes, variant_id) or 0)
    local bytes = growth
    for _, hash in ipairs({sizes, variant_sizes}) do
        bytes = bytes + tonumber(redis.call('HGET', hash, '') or 0)
    end
    if redis.call('ZCARD', index) + others + 1 > tonumber(max_entries) or bytes > tonumber(max_bytes) then
        redis.call('DEL', facts)
        forget(variant_id)
        return 'over_quota'
    end
    if has_newer then
        redis.call('SET', facts, packed, 'KEEPTTL')
        redis.call('ZADD', variant_index, 'NX', now + ttl_ms, variant_id)
    else
        redis.call('SET', facts, packed, 'PX', ttl_ms)
        redis.call('ZADD', variant_index, now + ttl_ms, variant_id)
    end
    redis.call('HSET', variant_sizes, variant_id, #packed)
    redis.call('HINCRBY', variant_sizes, '', growth)
    redis.call('PEXPIRE', variant_index, index_ttl_ms)
    redis.call('PEXPIRE', variant_sizes, index_ttl_ms)
    return 'filled'
""",
)

# Instead of facts that are outdated, a mark with the time from which on readings are newer, so that none from before is
# stored: a query may be under way. It belongs to no quota, and expires soon.
MARK_FACTS: Final = Script(
    name="mark_facts",
    keys=("facts", "variant_index", "variant_sizes"),
    args=("variant_id", "begin", "read_at", "mark", "ttl_ms"),
    body="""
    local present = redis.call('GET', facts)
    if present and string.sub(present, 1, 9) == begin and struct.unpack('>I8', present, 10) > tonumber(read_at) then
        return 'newer_there'
    end
    redis.call('SET', facts, begin .. struct.pack('>I8I8I4', tonumber(read_at), 0, 0) .. mark, 'PX', ttl_ms)
    redis.call('ZREM', variant_index, variant_id)
    local size = redis.call('HGET', variant_sizes, variant_id)
    if size then
        redis.call('HINCRBY', variant_sizes, '', -tonumber(size))
        redis.call('HDEL', variant_sizes, variant_id)
    end
    return 'filled'
""",
)
