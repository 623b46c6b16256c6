"""The runs that earlier tests have left in Prefect's server."""

from prefect import get_client


async def delete_all_runs() -> None:
    """Delete all runs, 50 at once; their artifacts stay, which no test finds without its run.

    The product's cleanup has a request for each run and each artifact, and one to find each page of them.
    """
    async with get_client() as client:
        while (await client._client.post("/flow_runs/bulk_delete", json={})).json()["deleted"]:
            pass
