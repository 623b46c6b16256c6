"""Hides from libraries what they would import only because it is installed. Import this module first.

Prefect and the reports need these packages, so they are installed wherever the API is; each library does without them
if it does not find them. To Python, None in `sys.modules` is a module that is not installed. What a program has
imported before stays.
"""

import sys
from typing import Any, Final, cast

UNUSED: Final = (
    "h2",  # HTTP/2, which is switched on neither in httpx nor in Sentry's SDK
    "pydantic.v1",  # FastAPI imports it to find out that no model is of that version
    "pygments",  # httpx imports it, and rich, for its command line
)
"""They took 6 MiB of each process."""

for _name in UNUSED:
    cast("dict[str, Any]", sys.modules).setdefault(_name, None)
