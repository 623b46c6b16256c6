"""Helpers of the tests of reminders and invitations."""

import re

from deployments.sandbox.mailbox.messages import ReceivedMessage
from tests.support.aliases import Demo

_CONFIRM_EVERYONE = """
INSERT INTO invitations (shop_id, registry_id, recipient, state, answer)
SELECT DISTINCT r.shop_id, r.id, lower(trim(address)), 'sent', 'confirmed'
FROM registries r, unnest(array[customer_email] || ARRAY(
    SELECT jsonb_path_query(co_registrants, '$[*].email') #>> '{}')) AS address
WHERE strpos(address, '@') > 0
"""


def confirm_everyone(demo: Demo) -> None:
    """Let all whom the registries name now have confirmed their address, and no others."""
    demo.execute("DELETE FROM invitations")
    demo.execute(_CONFIRM_EVERYONE)


def link_in(received: ReceivedMessage) -> str:
    """The path of the answer's link in an invitation that the mail server has received."""
    body = received.parsed.get_body(["plain"])
    assert body
    found = re.search(r"/api/invitations/[\w-]{48}(?=\s)", body.get_content())
    assert found, body.get_content()
    return str(found[0])


def invite(demo: Demo, *recipients: str, registry: int | None = None, shop_id: int = 1) -> int:
    """Write invitations to a registry of the shop, that with the lowest id by default; its id."""
    if registry is None:
        found = demo.execute("SELECT min(id) FROM registries WHERE shop_id = %s", [shop_id]).fetchone()
        assert found
        registry = int(found[0])
    for recipient in recipients:
        demo.execute(
            """INSERT INTO invitations (shop_id, registry_id, recipient, message_id)
               VALUES (%s, %s, %s, '<' || gen_random_uuid() || '@shop.example>')""",
            [shop_id, registry, recipient],
        )
    return registry
