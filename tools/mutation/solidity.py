"""Solidity as tokens with their places: enough to change one thing and leave the rest as it was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+ | //[^\n]* | /\*.*?\*/)
  | (?P<string>(?:hex|unicode)?"(?:\\.|[^"\\])*" | (?:hex|unicode)?'(?:\\.|[^'\\])*')
  | (?P<number>0x[0-9a-fA-F_]+ | [0-9][0-9_]*(?:\.[0-9_]+)?(?:e-?[0-9]+)?)
  | (?P<word>[A-Za-z_$][A-Za-z0-9_$]*)
  | (?P<mark>>>>= | <<= | >>= | \*\* | \+\+ | -- | && | \|\| | [=!<>]= | [-+*/%&|^]=
      | << | >> | => | -> | := | .)
    """,
    re.VERBOSE | re.DOTALL,
)

_OPENING: Final = {"(": ")", "[": "]", "{": "}"}
_SKIPPED: Final = frozenset({"import", "pragma", "using", "type"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A piece of source text; ``code[start:end]`` is ``text``."""

    kind: str
    """``word``, ``number``, ``string`` or ``mark``."""
    text: str
    start: int
    end: int
    assembly: bool
    """Whether it stands in an assembly block, which has rules of its own."""


class Source:
    """Tokens of one file, without comments, imports, pragmas and ``using``; and how they nest."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.tokens: Sequence[Token] = _tokens(code)
        self.partner: dict[int, int] = {}
        """Index of a bracket's counterpart, both ways."""
        self.parent: list[int | None] = []
        """Index of the bracket that a token stands in; a bracket stands in the one around it."""
        stack: list[int] = []
        for index, token in enumerate(self.tokens):
            if token.text in _OPENING.values() and token.kind == "mark":
                opening = stack.pop()
                self.partner[opening], self.partner[index] = index, opening
            self.parent.append(stack[-1] if stack else None)
            if token.text in _OPENING and token.kind == "mark":
                stack.append(index)

    def text(self, index: int) -> str:
        """Text of a token; empty beyond either end."""
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def line(self, place: int) -> int:
        """Number of the line, from 1, that a place of the text is on."""
        return self.code.count("\n", 0, place) + 1

    def line_text(self, place: int) -> str:
        """That line, without the space around it."""
        start = self.code.rfind("\n", 0, place) + 1
        end = self.code.find("\n", place)
        return self.code[start : end if end >= 0 else None].strip()

    def skip(self, index: int) -> int:
        """Index after a token, or after the whole bracket it opens."""
        return self.partner.get(index, index) + 1 if self.text(index) in _OPENING else index + 1

    def statement_end(self, index: int) -> int:
        """Index of the semicolon that ends the statement which ``index`` is in."""
        while self.text(index) not in (";", ""):
            index = self.skip(index)
        return index


def _tokens(code: str) -> list[Token]:
    found: list[Token] = []
    skipping = False
    assembly_end = 0
    for match in _TOKEN.finditer(code):
        kind, text = match.lastgroup or "", match.group()
        if kind == "space":
            continue
        # Not statements of a function: `type Name is`, as against `type(Name)`.
        follower = code[match.end() : match.end() + 1]
        if (
            kind == "word"
            and text in _SKIPPED
            and match.start() >= assembly_end
            and follower != "("
        ):
            skipping = True
        if not skipping:
            if text == "assembly" and kind == "word":
                assembly_end = _block_end(code, match.end())
            inside = match.start() < assembly_end and text != "assembly"
            found.append(
                Token(kind=kind, text=text, start=match.start(), end=match.end(), assembly=inside)
            )
        elif text == ";":
            skipping = False
    return found


def _block_end(code: str, place: int) -> int:
    """Place after the block in braces that begins after ``place``."""
    depth = 0
    for match in _TOKEN.finditer(code, place):
        if match.lastgroup == "mark":
            depth += {"{": 1, "}": -1}.get(match.group(), 0)
            if match.group() == "}" and depth == 0:
                return match.end()
    return len(code)
