"""What a mutant changes: one comparison, one guard, one figure. Text in, mutants out.

Each operator is a function from a `Source` to the edits it would make; `OPERATORS` names them in
the order of what they are worth: a guard that no test misses is worse than a sign.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tools.mutation.solidity import Source

Edit = tuple[int, int, str]
"""Start and end of what is replaced, and by what."""


def _table(text: str) -> dict[str, str]:
    """What is replaced by what: ``"+ -, * /"``."""
    words = text.replace(",", "").split()
    return dict(zip(words[::2], words[1::2], strict=True))


_COMPARISON: Final = _table("< <=, <= <, > >=, >= >, == !=, != ==")
_LOGIC: Final = _table("&& ||, || &&")
_NEUTRAL: Final = _table("&& true, || false")
_ARITHMETIC: Final = _table(
    "+ -, - +, * /, / *, % *, & |, | &, ^ &, << >>, >> <<, += -=, -= +=, |= &=, &= |="
)
_ASSEMBLY: Final = _table(
    "add sub, sub add, mul add, div mul, sdiv div, and or, or and, shl shr, shr shl, sar shr, "
    "lt gt, gt lt, slt sgt, sgt slt, iszero not"
)
_MEMBER: Final = {
    "Phase": _table("Open Disputed, Disputed Open, RunOff Closed, Closed None, None Closed"),
    "Status": _table("Known LastResort, LastResort Known, Never Unset, Unset Never"),
}
_ROUNDING: Final = _table(
    "fullMulDiv fullMulDivUp, fullMulDivUp fullMulDiv, mulDiv mulDivUp, mulDivUp mulDiv, "
    "min max, max min"
)
_HEADER: Final = frozenset(
    [
        *("external", "public", "internal", "private", "view", "pure"),
        *("payable", "virtual", "override", "returns"),
    ]
)
_TYPE: Final = re.compile(r"(u?int\d*|bytes\d*|bool|address|string|mapping)$")
_PLACE: Final = frozenset(
    {"memory", "storage", "calldata", "indexed", "immutable", "constant", "transient"}
)
_OPERAND_ENDS: Final = frozenset({"=", ",", ";", "?", ":", "return", "{", "}"})
_NO_STATEMENT: Final = frozenset({"return", "revert", "if", "for", "else", "while"})
_STATEMENT_GOES_ON: Final = frozenset({".", "(", "[", "=", "+=", "-=", "++", "--", "|=", "&="})
_UNITS: Final = frozenset({"seconds", "minutes", "hours", "days", "weeks", "wei", "gwei", "ether"})
_NOT_OPERANDS: Final = frozenset(
    {"return", "=", "(", "[", "{", ",", "?", ":", ";", "<", ">", "*", "/"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One change to one file."""

    file: str
    """Path from the root, with slashes."""
    operator: str
    line: int
    source: str
    """Text of that line, without the space around it."""
    start: int
    original: str
    replacement: str
    occurrence: int
    """How many changes alike came before on lines alike, from 0."""

    @property
    def key(self) -> str:
        """Name that stays as long as the line does, wherever in the file it moves."""
        what = (self.file, self.operator, self.source, self.original, self.replacement)
        return hashlib.sha256(repr((*what, self.occurrence)).encode()).hexdigest()[:12]

    def apply(self, code: str) -> str:
        """The file's text with the change made.

        Raises:
            ValueError: the file is not the one the mutant was made of.
        """
        end = self.start + len(self.original)
        if code[self.start : end] != self.original:
            raise ValueError(f"{self.file} has changed: no {self.original!r} at {self.start}")
        return code[: self.start] + self.replacement + code[end:]


def guards(source: Source) -> Iterator[Edit]:
    """Drop ``if (...) revert ...;`` and what else ends early: return, continue, break."""
    for index, token in enumerate(source.tokens):
        if token.text == "if" and not token.assembly:
            body = source.skip(index + 1)
            if source.text(body) == "{" and source.text(body + 1) == "revert":
                end = source.partner[body]
                if source.statement_end(body + 1) != end - 1:
                    continue
            elif source.text(body) in ("revert", "return", "continue", "break"):
                end = source.statement_end(body)
            else:
                continue
            if source.text(end + 1) != "else":
                yield _without(source, index, end)
        elif token.text == "revert" and not token.assembly:
            end = source.statement_end(index)
            before = index - 1
            alone = source.text(before) == "{" and source.partner[before] == end + 1
            if alone and source.text(before - 1) == ")" and _closes_condition(source, before - 1):
                continue  # the whole of an `if`, dropped with it above
            if source.text(before) in ("{", "}", ";"):
                yield _without(source, index, end)


def _without(source: Source, first: int, last: int) -> Edit:
    """Edit that drops a statement; where one must stand, an empty block remains."""
    needed = source.text(first - 1) in (")", "else") and not source.tokens[first].assembly
    return source.tokens[first].start, source.tokens[last].end, "{}" if needed else ""


def modifiers(source: Source) -> Iterator[Edit]:
    """Drop a modifier of a function: ``locks``, ``whenUnlocked``."""
    for index, token in enumerate(source.tokens):
        if token.text != "function" or token.assembly:
            continue
        place = source.skip(index + 2)
        while source.text(place) not in ("{", ";", ""):
            word = source.tokens[place]
            if word.kind == "word" and word.text not in _HEADER:
                end = place + 1
                if source.text(end) == "(":
                    end = source.skip(end)
                yield word.start, source.tokens[end - 1].end, ""
            place = source.skip(place)


def statements(source: Source) -> Iterator[Edit]:
    """Drop a statement: a write, a check made by a call, an event."""
    for index, token in enumerate(source.tokens):
        if not _starts_statement(source, index):
            continue
        if token.assembly:
            yield from _assembly_statement(source, index)
            continue
        if token.text in ("emit", "delete", "++", "--"):
            pass
        elif token.text == "(":
            if _declares(source, index):
                continue
        elif (
            token.kind != "word"
            or token.text in _NO_STATEMENT
            or source.text(index + 1) not in _STATEMENT_GOES_ON
        ):
            continue
        end = source.statement_end(index)
        between = {source.text(i) for i in range(index, end)}
        if between & {"{", "", "function", "unchecked", "assembly"} or token.text == "unchecked":
            continue
        # `Type[] memory name = ...` begins like a statement.
        if between & {"memory", "storage", "calldata"} and source.text(index + 1) in ("[", "."):
            continue
        yield _without(source, index, end)


def _starts_statement(source: Source, index: int) -> bool:
    parent = source.parent[index]
    if parent is None or source.text(parent) != "{" or not _in_function(source, parent):
        return False
    before = source.text(index - 1)
    if source.tokens[index].assembly:
        code, place = source.code, source.tokens[index].start
        return code[code.rfind("\n", 0, place) + 1 : place].strip() == ""
    return before in ("{", "}", ";", "else") or (
        before == ")" and _closes_condition(source, index - 1)
    )


def _in_function(source: Source, brace: int | None) -> bool:
    while brace is not None:
        place = brace - 1
        while place >= 0 and source.text(place) not in (";", "{", "}"):
            place = source.partner[place] - 1 if source.text(place) in (")", "]") else place - 1
        if source.text(place + 1) in ("function", "modifier", "constructor"):
            return True
        brace = source.parent[brace]
    return False


def _closes_condition(source: Source, closing: int) -> bool:
    return source.text(source.partner[closing] - 1) in ("if", "for", "while")


def _declares(source: Source, opening: int) -> bool:
    inner = range(opening + 1, source.partner[opening])
    return any(
        source.tokens[i].kind == "word" and source.tokens[i + 1].kind == "word" for i in inner
    )


def _assembly_statement(source: Source, index: int) -> Iterator[Edit]:
    token = source.tokens[index]
    if token.kind != "word" or token.text in (
        "let",
        "if",
        "for",
        "switch",
        "case",
        "default",
        "function",
    ):
        return
    if source.text(index + 1) == ":=":
        index += 2
    end = source.skip(index + 1) - 1 if source.text(index + 1) == "(" else index
    yield token.start, source.tokens[end].end, ""


def parties(source: Source) -> Iterator[Edit]:
    """Take the other party: ``Party.A`` for ``Party.B``, ``cashA`` for ``cashB``."""
    words = {token.text for token in source.tokens if token.kind == "word"}
    for index, token in enumerate(source.tokens):
        if token.kind != "word" or token.text[-1] not in "AB" or source.text(index + 1) == ":":
            continue
        other = token.text[:-1] + {"A": "B", "B": "A"}[token.text[-1]]
        before = source.text(index - 1)
        if len(token.text) == 1:
            if before == "." and source.text(index - 2) == "Party":
                yield token.start, token.end, other
        elif other in words and not _declared_here(source, index):
            yield token.start, token.end, other


def _declared_here(source: Source, index: int) -> bool:
    before = source.tokens[index - 1]
    if before.text in ("return", "emit", "revert", "else"):
        return False
    return before.kind == "word" or before.text == "]"


def conditions(source: Source) -> Iterator[Edit]:
    """Negate the condition of an ``if``."""
    for index, token in enumerate(source.tokens):
        if token.text == "if" and source.text(index + 1) == "(" and not token.assembly:
            start, end = (
                source.tokens[index + 1].start,
                source.tokens[source.partner[index + 1]].end,
            )
            yield start, end, f"(!{source.code[start:end]})"


def operands(source: Source) -> Iterator[Edit]:
    """Leave out one side of an ``&&`` or ``||``."""
    for index, token in enumerate(source.tokens):
        if token.text not in _LOGIC or token.assembly:
            continue
        stops = _OPERAND_ENDS | {"||", token.text}  # && binds closer
        first, last = index - 1, index + 1
        while source.parent[index] != first and source.text(first) not in stops:
            first = source.partner[first] - 1 if source.text(first) in (")", "]") else first - 1
        parent = source.parent[index]
        closing = len(source.tokens) if parent is None else source.partner[parent]
        while last < closing and source.text(last) not in stops:
            last = source.skip(last)
        if source.text(first) != token.text:
            yield source.tokens[first + 1].start, source.tokens[index - 1].end, _NEUTRAL[token.text]
        yield source.tokens[index + 1].start, source.tokens[last - 1].end, _NEUTRAL[token.text]


def swaps(table: dict[str, str], *, assembly: bool = False) -> Callable[[Source], Iterator[Edit]]:
    """Operator that puts one operation in the place of another."""

    def swap(source: Source) -> Iterator[Edit]:
        for index, token in enumerate(source.tokens):
            if token.text not in table or token.assembly != assembly or token.kind == "string":
                continue
            if assembly and source.text(index + 1) != "(":
                continue
            if token.text == "-" and source.text(index - 1) in _NOT_OPERANDS:
                yield token.start, token.end, ""  # a sign: drop it
            else:
                yield token.start, token.end, table[token.text]

    return swap


def members(source: Source) -> Iterator[Edit]:
    """Take another phase or status."""
    for index, token in enumerate(source.tokens):
        table = _MEMBER.get(source.text(index - 2), {})
        if source.text(index - 1) == "." and token.text in table:
            yield token.start, token.end, table[token.text]


def rounding(source: Source) -> Iterator[Edit]:
    """Round the other way; take the greatest for the least."""
    words = {token.text for token in source.tokens if token.kind == "word"}
    for index, token in enumerate(source.tokens):
        if token.kind != "word" or token.assembly or source.text(index - 1) == "function":
            continue
        other = _ROUNDING.get(token.text)
        for one, two in (("Up", "Down"), ("Down", "Up")):
            if (
                other is None
                and token.text.endswith(one)
                and token.text.removesuffix(one) + two in words
            ):
                other = token.text.removesuffix(one) + two
        if other is not None:
            yield token.start, token.end, other


def constants(source: Source) -> Iterator[Edit]:
    """Make a figure one more: a window by a second, a cap by a unit."""
    for index, token in enumerate(source.tokens):
        if token.kind != "number" or token.assembly:
            continue
        if _TYPE.match(source.text(index - 2)) and source.text(index - 1) == "[":
            continue
        end = index + 1 if source.text(index + 1) in _UNITS else index
        whole = source.code[token.start : source.tokens[end].end]
        yield token.start, source.tokens[end].end, f"({whole} + 1)"


def ternaries(source: Source) -> Iterator[Edit]:
    """Swap the two outcomes of ``? :``."""
    for index, token in enumerate(source.tokens):
        if token.text != "?":
            continue
        colon, depth = index + 1, 0
        while source.text(colon) != ":" or depth:
            depth += {"?": 1, ":": -1}.get(source.text(colon), 0)
            colon = source.skip(colon)
        parent = source.parent[index]
        closing = len(source.tokens) if parent is None else source.partner[parent]
        end, depth = colon + 1, 0
        while end < closing and source.text(end) not in (",", ";"):
            depth += {"?": 1, ":": -1}.get(source.text(end), 0)
            if depth < 0:
                break  # the colon of the one around it
            end = source.skip(end)
        start, stop = source.tokens[index + 1].start, source.tokens[end - 1].end
        one = source.code[start : source.tokens[colon - 1].end]
        two = source.code[source.tokens[colon + 1].start : stop]
        yield start, stop, f"({two}) : ({one})"


OPERATORS: Final[dict[str, Callable[[Source], Iterator[Edit]]]] = {
    "guard": guards,
    "modifier": modifiers,
    "statement": statements,
    "party": parties,
    "comparison": swaps(_COMPARISON),
    "condition": conditions,
    "operand": operands,
    "logic": swaps(_LOGIC),
    "member": members,
    "rounding": rounding,
    "arithmetic": swaps(_ARITHMETIC),
    "ternary": ternaries,
    "constant": constants,
    "assembly": swaps(_ASSEMBLY, assembly=True),
}
"""Every operator by name, those whose survivors matter most first."""


def mutants_of(file: str, code: str) -> list[Mutant]:
    """Every mutant of a file, in the order of `OPERATORS`, then of the text."""
    source = Source(code)
    seen: Counter[tuple[str, ...]] = Counter()
    found = []
    for name, operator in OPERATORS.items():
        for start, end, replacement in operator(source):
            original, line_text = code[start:end], source.line_text(start)
            alike = (name, line_text, original, replacement)
            found.append(
                Mutant(
                    file=file,
                    operator=name,
                    line=source.line(start),
                    source=line_text,
                    start=start,
                    original=original,
                    replacement=replacement,
                    occurrence=seen[alike],
                )
            )
            seen[alike] += 1
    return found
