"""`python -m tests.support.notebook FILE`: execute a notebook's cells and print it with their outputs.

Jupyter itself is none of the project's dependencies. A cell's last expression is its output, as in Jupyter; a warning
or anything printed is an error, so that neither is committed.
"""

import ast
import base64
import contextlib
import io
import json
import re
import sys
import warnings
from pathlib import Path
from typing import Any, Final

from wishcraft.reports import plots

NOTEBOOK: Final = Path(__file__).parents[2] / "docs/analysts.ipynb"
_HEADER: Final = re.compile(r"<thead>(.*?)</thead>", re.DOTALL)
_ROWS: Final = re.compile(r"<tbody>(.*?)</tbody>", re.DOTALL)
_NAME: Final = re.compile(r"<th[^>]*>(.*?)</th>", re.DOTALL)
_PNG_SIZE: Final = slice(16, 24)
"""Where a PNG has its width and height."""


def execute(notebook: dict[str, Any]) -> dict[str, Any]:
    """The notebook with the outputs of its cells, which run one after the other in one namespace.

    Raises:
        RuntimeError: A cell printed something; its output would be no value.
        Exception: What a cell raises, a warning too.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    cells, number = [], 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            cells.append(cell)
            continue
        number += 1
        printed = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            warnings.simplefilter("error")
            value = _run("".join(cell["source"]), names)
        if printed.getvalue():
            raise RuntimeError(f"cell {number} printed: {printed.getvalue()}")
        outputs = [] if value is None else [_output(value, number)]
        cells.append({**cell, "execution_count": number, "outputs": outputs})
    return {**notebook, "cells": cells}


def outline(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The types of the outputs of each cell, without values that change from run to run or from day to day.

    Of a table the names of its columns, of its index, and its number of rows where the cell sets it; of a picture its
    size in pixels if that depends on no value.
    """
    return [
        {"source": "".join(cell["source"]), "outputs": [_outline(output["data"]) for output in cell["outputs"]]}
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


def _run(source: str, names: dict[str, Any]) -> Any:
    """Execute a cell; the value of its last line if that is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)  # noqa: S102  our own notebook
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if isinstance(last, ast.Expr) else None  # noqa: S307


def _output(value: Any, number: int) -> dict[str, Any]:
    """A value as the output of a cell, in the forms that it offers to IPython."""
    data: dict[str, Any] = {"text/plain": repr(value).splitlines(keepends=True)}
    metadata: dict[str, Any] = {}
    if hasattr(value, "_repr_mimebundle_"):
        bundle, metadata = value._repr_mimebundle_()
        data = {kind: base64.b64encode(content).decode() for kind, content in bundle.items()}
        data["text/plain"] = [f"<{type(value).__name__}>"]
    elif html := getattr(value, "_repr_html_", lambda: None)():
        data["text/html"] = html.splitlines(keepends=True)
    return {"output_type": "execute_result", "execution_count": number, "data": data, "metadata": metadata}


def _outline(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"kinds": sorted(data)}
    if "text/html" in data:
        html = "".join(data["text/html"])
        [header], [rows] = _HEADER.findall(html), _ROWS.findall(html)
        count = rows.count("<tr")
        found |= {"names": _NAME.findall(header), "rows": count if count == _SET_ROWS else bool(count)}
    if "image/png" in data:
        png = base64.b64decode(data["image/png"])
        found["width"] = int.from_bytes(png[_PNG_SIZE][:4], "big")
    return found


_SET_ROWS: Final = 10
"""Rows of the cells that limit them."""


if __name__ == "__main__":
    plots.draw(
        [plots.BarChart("", "", [], [])]
    )  # a machine's first plot makes matplotlib build its cache of fonts, and log that
    executed = execute(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    sys.stdout.write(json.dumps(executed, indent=1, ensure_ascii=False) + "\n")
