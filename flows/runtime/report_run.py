"""What the analysts' flows share: how their forms are read, and how an answer is left in the Prefect UI."""

import asyncio
from pathlib import Path
from typing import Any

from prefect import State
from prefect.futures import PrefectFuture
from prefect.states import Completed

from flows.runtime.progress import follow
from flows.runtime.publish import publish
from wishcraft.reports.page import Page


async def leave(key: str, title: str, making: PrefectFuture[Any]) -> State[None]:
    """Leave what the task finds as a page and tables, and say where its file is.

    Raises:
        QuestionRefused, RunStopped: And whatever else the task does.
    """
    await follow([making], [1])
    found: tuple[Page, Path | None] = await asyncio.to_thread(making.result)
    page, file = found
    body = f"{page.body}\n\nThe file: `{file}`, on the worker's machine." if file else page.body
    await publish(key, title, page._replace(body=body))
    return Completed(message=f"{page.verdict}{f' The file: {file}' if file else ''}")
