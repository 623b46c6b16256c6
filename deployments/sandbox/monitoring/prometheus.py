"""Client of Prometheus's HTTP API, as far as the page needs it."""

import math
from dataclasses import dataclass
from typing import Any, Final

import httpx

from wishcraft.errors import WishCraftError, in_words

_TIMEOUT_SECONDS: Final = 10.0


class PrometheusError(WishCraftError):
    """Prometheus does not answer, or refuses a query; the message says which."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series: its labels, and its value at each point of a range; None where it has none."""

    labels: dict[str, str]
    points: list[float | None]


@dataclass(frozen=True, slots=True)
class Range:
    """Points in time, in Unix seconds: `start`, `start + step`, … `end`."""

    start: int
    end: int
    step: int

    @classmethod
    def until(cls, now: float, seconds: int, step: int) -> "Range":
        """The last `seconds` before `now`, at multiples of `step`, so that lines keep their shape from call to call."""
        end = int(now) // step * step
        return cls(end - seconds // step * step, end, step)

    def __len__(self) -> int:
        """The number of points."""
        return (self.end - self.start) // self.step + 1


class Prometheus:
    """The server at `url`."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_SECONDS, trust_env=False)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def query(self, expression: str) -> list[Series]:
        """The present values, a series of one point each.

        Raises:
            PrometheusError: It does not answer, or refuses the query.
        """
        found = await self._get("query", {"query": expression})
        if found["resultType"] == "scalar":
            return [Series({}, [_number(found["result"][1])])]
        return [Series(each["metric"], [_number(each["value"][1])]) for each in found["result"]]

    async def query_range(self, expression: str, over: Range) -> list[Series]:
        """The values over a range.

        Raises:
            PrometheusError: It does not answer, or refuses the query.
        """
        asked = {"query": expression, "start": str(over.start), "end": str(over.end), "step": str(over.step)}
        found = await self._get("query_range", asked)
        return [_aligned(each, over) for each in found["result"]]

    async def label_values(self, metric: str, label: str) -> list[str]:
        """The values of a label of a metric, sorted.

        Raises:
            PrometheusError: It does not answer, or refuses the query.
        """
        found: list[str] = await self._get(f"label/{label}/values", {"match[]": metric})
        return sorted(found)

    async def alerts(self) -> list[dict[str, Any]]:
        """The pending and firing alerts, in Prometheus's own format.

        Raises:
            PrometheusError: It does not answer.
        """
        found = await self._get("alerts", {})
        alerts: list[dict[str, Any]] = found["alerts"]
        return alerts

    async def rules(self) -> list[dict[str, Any]]:
        """The alert rules, in Prometheus's own format, with the health of each.

        Raises:
            PrometheusError: It does not answer.
        """
        found = await self._get("rules", {"type": "alert"})
        return [rule for group in found["groups"] for rule in group["rules"]]

    async def _get(self, path: str, parameters: dict[str, str]) -> Any:
        try:
            answer = await self._http.get(f"/api/v1/{path}", params=parameters)
            content = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise PrometheusError(f"Prometheus does not answer: {str(error) or in_words(error)}") from error
        if content.get("status") != "success":
            raise PrometheusError(f"Prometheus refuses the query: {content.get('error')}")
        return content["data"]


def _aligned(series: dict[str, Any], over: Range) -> Series:
    """The series with a place for every point of the range; Prometheus leaves out those without a value."""
    points: list[float | None] = [None] * len(over)
    for at, text in series["values"]:
        points[(round(at) - over.start) // over.step] = _number(text)
    return Series(series["metric"], points)


def _number(text: str) -> float | None:
    """The number, or None where nothing can be drawn: NaN (such as 0 / 0) and infinity."""
    value = float(text)
    return value if math.isfinite(value) else None
