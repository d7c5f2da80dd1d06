"""Filters such as ``weight_decay > 1 and phase == 'grokking'``: a small language, evaluated without running code.

An expression is parsed as Python and may have names of columns, numbers, texts, ``None``, lists, ``and``, ``or``,
``not``, comparisons, ``in``, and ``+ - * /``; nothing else.  A name is a column of
:mod:`pipeline.ledger.views.records`, the end of a path (``learning_rate``), where only one path ends so, or a probe,
whose last value it is (``test_accuracy``).  A comparison with a value that a trial does not have is false, but for
``== None``.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pipeline.ledger.files import LedgerError
from pipeline.ledger.views.records import FINAL
from trainables.engine.config import brief
from trainables.engine.terminal import shown

Record = Mapping[str, Any]
_Evaluate = Callable[[Record], Any]

LONGEST = 1000
EXAMPLE = "weight_decay > 1 and phase == 'grokking'"
_ORDERINGS = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_ALLOWED = "allowed: columns, numbers, texts, None, lists, and, or, not, comparisons, in, + - * /"


class Where:
    """A filter over flat rows."""

    def __init__(self, text: str, names: Iterable[str]) -> None:
        """Parse an expression.

        :param names: of all columns.
        :raises LedgerError: for what is no such expression, and for a name of no column.
        """
        self._text = text
        self._names = list(names)
        self.columns: set[str] = set()
        """Those that it looks at."""
        try:
            if len(text) > LONGEST:
                raise self._error(f"has {len(text)} characters, must have at most {LONGEST}")
            self._evaluate = self._compiled(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, ValueError):
            hint = "; compare with ==" if re.search("(?<![=<>!])=(?!=)", text) else ""
            raise self._error(f"is no expression{hint}; for example: {EXAMPLE}") from None
        except (RecursionError, MemoryError):
            raise self._error("is nested too deep") from None

    def __call__(self, record: Record) -> bool:
        """Whether a trial is wanted.

        :raises LedgerError: when it compares text with a number.
        """
        try:
            return bool(self._evaluate(record))
        except RecursionError:
            raise self._error("is nested too deep") from None

    def _error(self, what: str) -> LedgerError:
        return LedgerError(f"--where {brief(self._text, 80)}: {what}")

    def _compiled(self, node: ast.AST) -> _Evaluate:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return lambda _: value
            case ast.Name() | ast.Attribute():
                return self._column(node)
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
                values = [self._compiled(item) for item in items]
                return lambda record: [value(record) for value in values]
            case ast.BoolOp(op=op, values=parts):
                tests = [self._compiled(part) for part in parts]
                both = all if isinstance(op, ast.And) else any
                return lambda record: both(test(record) for test in tests)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                test = self._compiled(operand)
                return lambda record: not test(record)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._computed(operator.sub, lambda _: 0, self._compiled(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self._computed(_ARITHMETIC[type(op)], self._compiled(left), self._compiled(right))
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [self._compiled(side) for side in (left, *others)]
                tests = [self._compared(*each) for each in zip(ops, sides[:-1], sides[1:], strict=True)]
                return lambda record: all(test(record) for test in tests)
        part = ast.get_source_segment(self._text.strip(), node) or type(node).__name__
        bits = isinstance(getattr(node, "op", None), ast.BitAnd | ast.BitOr | ast.Invert)
        raise self._error(f"{shown(part[:60])}: {'write and, or, not; ' if bits else ''}{_ALLOWED}")

    def _computed(self, compute: Callable[[Any, Any], Any], left: _Evaluate, right: _Evaluate) -> _Evaluate:
        def evaluate(record: Record) -> Any:
            values = left(record), right(record)
            if None in values:
                return None
            if texts := [value for value in values if not isinstance(value, int | float)]:
                raise self._error(f"cannot compute with {brief(texts[0], 40)}")
            try:
                return compute(*values)
            except (ZeroDivisionError, OverflowError):
                return None

        return evaluate

    def _compared(self, op: ast.cmpop, left: _Evaluate, right: _Evaluate) -> _Evaluate:
        def ordered(record: Record) -> bool:
            one, other = left(record), right(record)
            if one is None or other is None:
                return False
            try:
                return bool(_ORDERINGS[type(op)](one, other))
            except TypeError:
                raise self._error(f"cannot order {brief(one, 40)} and {brief(other, 40)}") from None

        def contained(record: Record) -> bool:
            one, other = left(record), right(record)
            if isinstance(other, str):
                return isinstance(one, str) and one in other
            return one is not None and isinstance(other, list) and one in other

        def equal(record: Record) -> bool:
            return bool(left(record) == right(record))

        match op:
            case ast.Eq() | ast.Is():
                return equal
            case ast.NotEq() | ast.IsNot():
                return lambda record: not equal(record)
            case ast.In():
                return contained
            case ast.NotIn():
                return lambda record: not contained(record)
        return ordered

    def _column(self, node: ast.AST) -> _Evaluate:
        name = _dotted(node)
        if name is None:
            raise self._error(_ALLOWED)
        column = self._resolved(name)
        self.columns.add(column)
        return lambda record: record.get(column)

    def _resolved(self, name: str) -> str:
        """The column that a name stands for."""
        ends = [column for column in self._names if column == name or column.endswith(f".{name}")]
        ends = [name] if name in ends else ends
        if len(ends) > 1:
            raise self._error(f"{name}: could be {', '.join(sorted(ends))}; name one of them")
        if ends:
            return ends[0]
        if f"{FINAL}{name}" in self._names:
            return f"{FINAL}{name}"
        short = sorted({column.removeprefix(FINAL).rpartition(".")[2] for column in self._names})
        near = get_close_matches(name.rpartition(".")[2], short, n=4, cutoff=0.5)
        some = f"nearest: {', '.join(near)}" if near else f"some columns: {', '.join(self._names[:12])}"
        raise self._error(f"{name}: no such column; {some}")


def _dotted(node: ast.AST) -> str | None:
    """``optimizer.weight_decay`` as it is written; None for anything else with a dot."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (stem := _dotted(node.value)) is not None:
        return f"{stem}.{node.attr}"
    return None
