"""A small safe evaluator for the formulas of compute tools: arithmetic, named functions, nothing else."""

import ast
import math
import operator
import statistics
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from fcdist.errors import GenerationError

_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def _fib(n: int) -> int:
    a, b = 0, 1
    for _ in range(int(n)):
        a, b = b, a + b
    return a


Points = Sequence[Mapping[str, float]]


def _polygon_area(points: Points) -> float:
    """Shoelace formula over the vertices in the order given."""
    following = [*points[1:], points[0]]
    return abs(sum(p["x"] * q["y"] - q["x"] * p["y"] for p, q in zip(points, following, strict=True))) / 2


def _line(points: Points) -> tuple[float, float]:
    """Slope and intercept by least squares; the abscissas must not all be equal."""
    return statistics.linear_regression([p["x"] for p in points], [p["y"] for p in points])


def _first_word(words: Sequence[str], direction: str | float) -> str:
    """Where an alphabetical list begins; a descending one begins with the last word."""
    return max(words) if direction == "desc" else min(words)


_ACTIVITY = {"sedentary": 1.2, "light": 1.375, "moderate": 1.55, "intense": 1.725}
"""Energy of a day as a multiple of that at rest."""


def _daily_energy(weight_kg: float, height_cm: float, age: float, gender: str, activity: str) -> float:
    """Kilocalories a day after Mifflin and St Jeor (1990), times the customary factor for the activity."""
    at_rest = 10 * weight_kg + 6.25 * height_cm - 5 * age + (5 if gender == "male" else -161)
    return round(at_rest * _ACTIVITY[activity])


_DOLLARS = {
    **{"USD": 1.0, "EUR": 1.08, "GBP": 1.27, "CNY": 0.14, "JPY": 0.0067, "KRW": 0.00073, "INR": 0.012},
    **{"SGD": 0.74, "AUD": 0.66, "CAD": 0.73, "CHF": 1.12},
}
"""What a unit of each currency is about worth in US dollars."""


_PACE = {"driving": 2, "walking": 12, "transit": 4, "cycling": 4}
"""Minutes a kilometer in town, by means of transport."""


def _level(argument: Any, low: float, high: float) -> float:
    """A number from `low` to `high` that follows from an argument: what a town, a crop or a product is like."""
    return low + (high - low) * (zlib.crc32(str(argument).encode()) % 1000) / 999


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": math.sqrt,
    "ceil": math.ceil,
    "dollars": _DOLLARS.__getitem__,
    "pace": _PACE.__getitem__,
    "polygon_area": _polygon_area,
    "slope": lambda points: _line(points)[0],
    "intercept": lambda points: _line(points)[1],
    "first_word": _first_word,
    "level": _level,
    "cheapest": lambda names: min(names, key=lambda name: _level(name, 0, 1)),
    "best": lambda names: max(names, key=lambda name: _level(name[::-1], 0, 1)),
    "daily_energy": _daily_energy,
    "log": math.log,
    "comb": math.comb,
    "perm": math.perm,
    "factorial": math.factorial,
    "gcd": math.gcd,
    "lcm": math.lcm,
    "mean": statistics.fmean,
    "round": lambda number, digits: round(number, int(digits)),
    "median": statistics.median,
    "stdev": statistics.stdev,
    "variance": statistics.variance,
    "sum": sum,
    "prod": math.prod,
    "max": max,
    "min": min,
    "len": len,
    "length": len,
    "reverse": lambda text: text[::-1],
    "fib": _fib,
}


def evaluate(expression: str, names: Mapping[str, Any]) -> Any:
    """Value of `expression`; floats are rounded to 4 digits after the point, whole floats become integers.

    Raises:
        GenerationError: the expression uses something other than arithmetic and the known functions and names.
    """
    value = _compiled(expression)(names)
    if isinstance(value, float):
        value = round(value, 2 if abs(value) >= 1 else 4)
        return int(value) if value.is_integer() and abs(value) < 1e15 else value
    return value


Formula = Callable[[Mapping[str, Any]], Any]
"""Parameter → value, in; value of the formula, out."""


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> Formula:
    return _formula(ast.parse(expression, mode="eval").body, expression)


def _formula(node: ast.expr, expression: str) -> Formula:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        value = node.value
        return lambda names: value
    if isinstance(node, ast.Name):
        return _name(node, expression)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        operate = _OPERATORS[type(node.op)]
        left, right = _formula(node.left, expression), _formula(node.right, expression)
        return lambda names: operate(left(names), right(names))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        function, arguments = _FUNCTIONS[node.func.id], [_formula(argument, expression) for argument in node.args]
        return lambda names: function(*[argument(names) for argument in arguments])
    raise _unknown(node, expression)


def _name(node: ast.Name, expression: str) -> Formula:
    """A parameter, or pi where no parameter is called so."""

    def value(names: Mapping[str, Any]) -> Any:
        if node.id in names:
            return names[node.id]
        if node.id == "pi":
            return math.pi
        raise _unknown(node, expression)

    return value


def _unknown(node: ast.expr, expression: str) -> GenerationError:
    told = ast.unparse(node)
    return GenerationError(f"formula {expression!r}: {told!r} is not arithmetic, a known function or a parameter")
