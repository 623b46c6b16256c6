"""The hosts of AWS's services are those that botocore knows."""

import json
from pathlib import Path
from typing import Any

import botocore
import pytest

from wishcraft.urls.aws import find_host, is_host_of

PARTITIONS: list[dict[str, Any]] = json.loads((Path(botocore.__file__).parent / "data/partitions.json").read_text())[
    "partitions"
]
REGIONS = [
    (region, f"{service}.{region}.{partition['outputs']['dnsSuffix']}")
    for partition in PARTITIONS
    for region in partition["regions"]
    if not region.endswith("-global")
    for service in ("email", "sns")
]


@pytest.mark.parametrize(("region", "host"), REGIONS)
def test_a_region_has_the_host_that_botocore_gives_it(region: str, host: str) -> None:
    service = host.partition(".")[0]
    assert find_host(service, region) == host
    assert is_host_of(service, host)


@pytest.mark.parametrize(
    "region",
    ["", "frankfurt", "aws-global", "eu-central", "eu-central-1.evil.example", "eu-central-1\n", "us-isoz-east-1"],
)
def test_a_text_that_is_no_region_has_no_host(region: str) -> None:
    assert find_host("sns", region) is None
    assert not is_host_of("sns", f"sns.{region}.amazonaws.com")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "sns",
        "sns.",
        "eu-central-1.amazonaws.com",
        "sqs.eu-central-1.amazonaws.com",
        "sns.eu-central-1.amazonaws.eu",
    ],
)
def test_another_host_is_none_of_the_service(host: str) -> None:
    assert not is_host_of("sns", host)
