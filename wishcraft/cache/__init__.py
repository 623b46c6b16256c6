"""Redis: every key and TTL, the entry format, the Lua scripts, and what is built on them."""
