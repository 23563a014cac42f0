"""Sums that everybody can check: a tool named after an operation on one or two numbers is asked for it and is right."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on numbers, and how it is said; `{0}` and `{1}` stand for them."""

    compute: Callable[..., float]
    en: str
    zh: str
    goal_zh: str
    most: int = 100
    """Numbers above are nobody's question."""

    @property
    def arity(self) -> int:
        """How many numbers it takes."""
        return 2 if "{1}" in self.en else 1


_ADD = Operation(lambda a, b: a + b, "{0} plus {1}", "{0} 加 {1}", "计算两数之和")
_SUBTRACT = Operation(lambda a, b: a - b, "{0} minus {1}", "{0} 减 {1}", "计算两数之差")
_MULTIPLY = Operation(lambda a, b: a * b, "{0} times {1}", "{0} 乘以 {1}", "计算两数的乘积")
_DIVIDE = Operation(lambda a, b: a / b, "{0} divided by {1}", "{0} 除以 {1}", "计算两数的商")
_POWER = Operation(lambda a, b: a**b, "{0} to the power of {1}", "{0} 的 {1} 次方", "计算乘方", 9)
_MODULO = Operation(math.fmod, "{0} modulo {1}", "{0} 除以 {1} 的余数", "计算余数")
_ROOT = Operation(math.sqrt, "the square root of {0}", "{0} 的平方根", "计算平方根")
OPERATIONS: Mapping[str, Operation] = {
    **{"add": _ADD, "addition": _ADD, "subtract": _SUBTRACT, "subtraction": _SUBTRACT},
    **{"multiply": _MULTIPLY, "multiplication": _MULTIPLY, "divide": _DIVIDE, "division": _DIVIDE},
    **{"power": _POWER, "pow": _POWER, "modulo": _MODULO, "mod": _MODULO, "sqrt": _ROOT, "square_root": _ROOT},
    "sum": Operation(lambda a, b: a + b, "the sum of {0} and {1}", "{0} 与 {1} 的和", "计算两数之和"),
    "gcd": Operation(math.gcd, "the gcd of {0} and {1}", "{0} 和 {1} 的最大公约数", "计算最大公约数"),
    "lcm": Operation(math.lcm, "the lcm of {0} and {1}", "{0} 和 {1} 的最小公倍数", "计算最小公倍数"),
    "sin": Operation(math.sin, "sin({0})", "sin({0})", "计算正弦值"),
    "cos": Operation(math.cos, "cos({0})", "cos({0})", "计算余弦值"),
    "tan": Operation(math.tan, "tan({0})", "tan({0})", "计算正切值"),
    "log10": Operation(math.log10, "the base-10 logarithm of {0}", "以 10 为底 {0} 的对数", "计算常用对数"),
    "ln": Operation(math.log, "the natural logarithm of {0}", "{0} 的自然对数", "计算自然对数"),
    "floor": Operation(math.floor, "{0} rounded down", "{0} 向下取整", "向下取整"),
    "ceiling": Operation(math.ceil, "{0} rounded up", "{0} 向上取整", "向上取整"),
    "square": Operation(lambda a: a * a, "{0} squared", "{0} 的平方", "计算平方"),
    "cube": Operation(lambda a: a**3, "{0} cubed", "{0} 的立方", "计算立方"),
    "factorial": Operation(math.factorial, "the factorial of {0}", "{0} 的阶乘", "计算阶乘", 12),
    "degrees_to_radians": Operation(math.radians, "{0} degrees in radians", "{0} 度是多少弧度", "把角度换算成弧度"),
    "radians_to_degrees": Operation(math.degrees, "{0} radians in degrees", "{0} 弧度是多少度", "把弧度换算成角度", 6),
}
"""Name of a tool → what it computes."""
_AROUND = ("calculate", "compute", "get", "math", "calc", "two", "numbers", "number", "find", "a", "b", "and")


def operation_of(words: Sequence[str], numbers: int) -> Operation | None:
    """What a tool computes whose name has `words` and that takes `numbers` numbers and nothing else."""
    bare = "_".join(word for word in words if word not in _AROUND)
    found = OPERATIONS.get(bare)
    return found if found is not None and found.arity == numbers else None


def computed(operation: Operation, numbers: Sequence[float]) -> float | None:
    """The result, four digits after the point; None where there is none."""
    try:
        value = round(float(operation.compute(*numbers)), 4)
    except (ArithmeticError, ValueError, TypeError):
        return None
    return int(value) if value.is_integer() else value
