"""What tests of reminders and invitations share."""

from typing import Any

from psycopg import Connection

Demo = Connection[tuple[Any, ...]]
_CONFIRM_EVERYONE = """
INSERT INTO invitations (shop_id, registry_id, recipient, state, answer)
SELECT DISTINCT r.shop_id, r.id, lower(trim(address)), 'sent', 'confirmed'
FROM registries r, unnest(array[customer_email] || ARRAY(
    SELECT jsonb_path_query(co_registrants, '$[*].email') #>> '{}')) AS address
WHERE strpos(address, '@') > 0
"""


def confirm_everyone(demo: Demo) -> None:
    """Let all whom the registries name now have confirmed their address, and nobody else."""
    demo.execute("DELETE FROM invitations")
    demo.execute(_CONFIRM_EVERYONE)
