"""Evaluator of the part of PromQL that the alerts and the dashboard use, with the results of Prometheus 3.

Anything else raises NotImplementedError.
"""

import math
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import promql_parser as ast

from tests.support.metric_samples import Labels, Samples

Vector = dict[Labels, float]
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda left, right: left / right if right else math.nan if not left or math.isnan(left) else left * math.inf,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
AGGREGATIONS: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "max": max,
    "min": min,
    "avg": lambda values: sum(values) / len(values),
    "count": len,
}


def evaluate(expression: str, samples: Samples, at: float) -> Vector | float:
    """Evaluate the expression at that time (Unix seconds)."""
    return _evaluate(_parse(expression), samples, at)


@cache
def _parse(expression: str) -> Any:
    return ast.parse(expression)


def _evaluate(node: Any, samples: Samples, at: float) -> Vector | float:
    match node:
        case ast.NumberLiteral():
            return float(node.val)
        case ast.ParenExpr():
            return _evaluate(node.expr, samples, at)
        case ast.VectorSelector():
            moment = at - _offset(node)
            return {labels: value for labels, value in samples.last(str(node.name), moment) if _selects(node, labels)}
        case ast.Call():
            return _call(node, samples, at)
        case ast.AggregateExpr():
            return _aggregate(node, _vector(node.expr, samples, at))
        case ast.BinaryExpr():
            return _combine(node, _evaluate(node.lhs, samples, at), _evaluate(node.rhs, samples, at))
    raise NotImplementedError(type(node).__name__)


def _vector(node: Any, samples: Samples, at: float) -> Vector:
    found = _evaluate(node, samples, at)
    assert isinstance(found, dict), node
    return found


def _offset(selector: Any) -> float:
    return float(selector.offset.total_seconds()) if selector.offset else 0.0


def _selects(selector: Any, labels: Labels) -> bool:
    values = dict(labels)
    return all(_matches(each, values.get(each.name, "")) for each in selector.matchers.matchers)


def _matches(matcher: Any, value: str) -> bool:
    if matcher.op == ast.MatchOp.Equal or matcher.op == ast.MatchOp.NotEqual:  # noqa: PLR1714  not hashable
        return bool((matcher.value == value) == (matcher.op == ast.MatchOp.Equal))
    return bool((re.fullmatch(matcher.value, value) is not None) == (matcher.op == ast.MatchOp.Re))


def _call(node: Any, samples: Samples, at: float) -> Vector | float:
    match node.func.name:
        case "time":
            return at
        case "rate" | "increase" as name:
            selector = node.args[0].vector_selector
            seconds, end = node.args[0].range.total_seconds(), at - _offset(selector)
            divisor = seconds if name == "rate" else 1.0
            return {
                _without_name(labels): _increase(points, end - seconds, end) / divisor
                for labels, points in samples.between(selector.name, end - seconds, end)
                if len(points) > 1 and _selects(selector, labels)
            }
        case "absent":
            return _absent(node.args[0], _vector(node.args[0], samples, at))
        case "histogram_quantile":
            share = _evaluate(node.args[0], samples, at)
            assert isinstance(share, float)
            return _histogram_quantile(share, _vector(node.args[1], samples, at))
    raise NotImplementedError(node.func.name)


def _increase(points: list[tuple[float, float]], start: float, end: float) -> float:
    """Growth of a counter including resets, extrapolated to the whole range as Prometheus's `extrapolatedRate` does."""
    values = [value for _, value in points]
    fallen = sum(before for before, after in pairwise(values) if after < before)
    grown = values[-1] - values[0] + fallen
    sampled = points[-1][0] - points[0][0]
    pause = sampled / (len(points) - 1)
    before, after = points[0][0] - start, end - points[-1][0]
    before = before if before < 1.1 * pause else pause / 2
    if grown > 0:
        before = min(before, sampled * values[0] / grown)  # a counter is never below zero
    after = after if after < 1.1 * pause else pause / 2
    return grown * (sampled + before + after) / sampled


def _absent(selector: Any, found: Vector) -> Vector:
    if found:
        return {}
    equal = [each for each in getattr(selector, "matchers", ast.Matchers([])).matchers if each.op == ast.MatchOp.Equal]
    return {frozenset((each.name, each.value) for each in equal): 1.0}


def _histogram_quantile(share: float, buckets: Vector) -> Vector:
    histograms: defaultdict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, value in buckets.items():
        bound = float(dict(labels)["le"])
        histograms[_keep(labels, lambda name: name not in {"le", "__name__"})].append((bound, value))
    return {labels: _quantile(share, sorted(bounds)) for labels, bounds in histograms.items()}


def _quantile(share: float, buckets: list[tuple[float, float]]) -> float:
    total = buckets[-1][1]
    if len(buckets) == 1 or not total:
        return math.nan
    rank = share * total
    number = next(number for number, (_, count) in enumerate(buckets) if count >= rank)
    if number == len(buckets) - 1:
        return buckets[-2][0]
    low, under = buckets[number - 1] if number else (0.0, 0.0)
    high, count = buckets[number]
    return low + (high - low) * (rank - under) / (count - under)


def _aggregate(node: Any, vector: Vector) -> Vector:
    groups: defaultdict[Labels, list[float]] = defaultdict(list)
    for labels, value in vector.items():
        groups[_keep(_without_name(labels), _kept_by(node.modifier))].append(value)
    return {labels: float(AGGREGATIONS[str(node.op)](values)) for labels, values in groups.items()}


def _kept_by(modifier: Any) -> Callable[[str], bool]:
    """Return whether an aggregation keeps a label, by its `by` or `without`; it keeps none without either."""
    named = set(modifier.labels) if modifier else set()
    keeps = not modifier or modifier.type == ast.AggModifierType.By
    return lambda name: (name in named) == keeps


def _combine(node: Any, left: Vector | float, right: Vector | float) -> Vector | float:
    operation, key = str(node.op), _key(node.modifier)
    if operation in {"and", "or", "unless"}:
        assert isinstance(left, dict)
        assert isinstance(right, dict)
        return _select(operation, left, right, key)
    if isinstance(left, float) and isinstance(right, float):
        return ARITHMETIC[operation](left, right)
    matched = list(_match(left, right, key))
    if operation in ARITHMETIC:
        return {key(labels): ARITHMETIC[operation](one, other) for labels, one, other in matched}
    own = key if node.modifier and node.modifier.matching else lambda labels: labels
    kept = [each for each in matched if COMPARISONS[operation](each[1], each[2])]
    return {own(labels): other if isinstance(left, float) else one for labels, one, other in kept}


def _key(modifier: Any) -> Callable[[Labels], Labels]:
    """Return a function to the labels by which two series match."""
    if modifier and (modifier.return_bool or modifier.group_labels):
        raise NotImplementedError("bool and group modifiers")
    matching = modifier.matching if modifier else None
    if matching and matching.type == ast.LabelModifierType.Include:
        return lambda labels: _keep(labels, lambda name: name in matching.labels)
    ignored = {"__name__", *(matching.labels if matching else ())}
    return lambda labels: _keep(labels, lambda name: name not in ignored)


def _select(operation: str, left: Vector, right: Vector, key: Callable[[Labels], Labels]) -> Vector:
    lefts, rights = {key(labels) for labels in left}, {key(labels) for labels in right}
    if operation == "or":
        return left | {labels: value for labels, value in right.items() if key(labels) not in lefts}
    return {labels: value for labels, value in left.items() if (key(labels) in rights) == (operation == "and")}


def _match(
    left: Vector | float, right: Vector | float, key: Callable[[Labels], Labels]
) -> Iterator[tuple[Labels, float, float]]:
    """Yield each left value with the matching right one; a number matches all."""
    if isinstance(left, float):
        assert isinstance(right, dict)
        yield from ((labels, left, other) for labels, other in right.items())
    elif isinstance(right, float):
        yield from ((labels, one, right) for labels, one in left.items())
    else:
        partners = {key(labels): value for labels, value in right.items()}
        assert len(partners) == len(right), "several series on the right have the same labels"
        yield from ((labels, one, partners[key(labels)]) for labels, one in left.items() if key(labels) in partners)


def _keep(labels: Labels, wanted: Callable[[str], bool]) -> Labels:
    return frozenset(label for label in labels if wanted(label[0]))


def _without_name(labels: Labels) -> Labels:
    return _keep(labels, lambda name: name != "__name__")
