"""The hosts of AWS's services in each partition, such as China's. A test compares them with botocore's list. Pure."""

import re
from typing import Final

_PARTITIONS: Final = {
    re.compile(rf"(?:{prefix})-[a-z]{{1,20}}-[0-9]{{1,2}}"): domain
    for prefix, domain in {
        "cn": "amazonaws.com.cn",
        "[a-z]{2}|us-gov": "amazonaws.com",
        "eusc-[a-z]{2}": "amazonaws.eu",
        "us-iso": "c2s.ic.gov",
        "us-isob": "sc2s.sgov.gov",
        "eu-isoe": "cloud.adc-e.uk",
        "us-isof": "csp.hci.ic.gov",
    }.items()
}
"""The domain of a partition by how its regions are named; the first counts."""


def find_host(service: str, region: str) -> str | None:
    """The host of a service, such as `email` or `sns`, in a region; None if there is no such region."""
    domain = next((domain for names, domain in _PARTITIONS.items() if names.fullmatch(region)), None)
    return f"{service}.{region}.{domain}" if domain else None


def is_host_of(service: str, host: str) -> bool:
    """Whether a host is that of the service in one of the regions."""
    return host == find_host(service, host.removeprefix(f"{service}.").partition(".")[0])
