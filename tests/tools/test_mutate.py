"""Operators of the mutation tester, on text: each makes the changes it names and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.mutate import draw_sample, select
from tools.mutation.build import link
from tools.mutation.operators import OPERATORS, Mutant, mutants_of
from tools.mutation.report import (
    KILLED,
    STILLBORN,
    SURVIVED,
    markdown,
    outcome_of,
    read_explanations,
    read_outcomes,
    unexplained,
    write_outcomes,
)

FILE = "contracts/src/C.sol"


def in_function(body: str) -> str:
    return f"contract C {{\n    function f() external {{\n{body}\n    }}\n}}\n"


def mutants(code: str, operator: str) -> list[Mutant]:
    return [mutant for mutant in mutants_of(FILE, code) if mutant.operator == operator]


def changes(body: str, operator: str) -> list[tuple[str, str]]:
    found = mutants(in_function(body), operator)
    return [(mutant.original, mutant.replacement) for mutant in found]


@pytest.mark.parametrize(
    ("operator", "body", "expected"),
    [
        ("guard", "if (a < b) revert E(a, b);", [("if (a < b) revert E(a, b);", "")]),
        ("guard", "if (a) { revert E(); }", [("if (a) { revert E(); }", "")]),
        ("guard", "if (f(a)) return g(a); b = a;", [("if (f(a)) return g(a);", "")]),
        ("guard", "for (;;) { if (!a) continue; x = a; }", [("if (!a) continue;", "")]),
        ("guard", "if (a) x = 1; else if (b) revert E();", [("if (b) revert E();", "{}")]),
        ("guard", "if (a) return b; else return c;", []),
        ("guard", "x = a; revert E();", [("revert E();", "")]),
        ("statement", "x = a;", [("x = a;", "")]),
        ("statement", "uint256 x = a;", []),
        ("statement", "Position[] memory x = a;", []),
        ("statement", "L.T memory x = a;", []),
        ("statement", "(a, b) = (c, d);", [("(a, b) = (c, d);", "")]),
        ("statement", "(uint256 a, uint256 b) = (c, d);", []),
        ("statement", "_check(a, b);", [("_check(a, b);", "")]),
        ("statement", "if (a) _check(a);", [("_check(a);", "{}")]),
        ("statement", "emit E(a); ++n; delete m[a];", ["emit E(a);", "++n;", "delete m[a];"]),
        ("statement", "m[a].x += b; return b;", [("m[a].x += b;", "")]),
        ("comparison", "if (a < b) return;", [("<", "<=")]),
        ("comparison", "x = a >= b; y = a != b;", [(">=", ">"), ("!=", "==")]),
        ("condition", "if (a < b) return;", [("(a < b)", "(!(a < b))")]),
        (
            "operand",
            "x = a == 0 || f(b) && c;",
            [("a == 0", "false"), ("f(b) && c", "false"), ("f(b)", "true"), ("c", "true")],
        ),
        ("operand", "if ((a || b) && c) return;", ["a", "b", "(a || b)", "c"]),
        ("logic", "x = a && b;", [("&&", "||")]),
        ("arithmetic", "x = a + b - c;", [("+", "-"), ("-", "+")]),
        ("arithmetic", "x = -a; return -b;", [("-", ""), ("-", "")]),
        ("arithmetic", "x += a << 2; ++x;", [("+=", "-="), ("<<", ">>")]),
        (
            "party",
            "pay(Party.A, cashA); cashB = a;",
            [("A", "B"), ("cashA", "cashB"), ("cashB", "cashA")],
        ),
        ("party", "uint256 cashA = b; x = cashB;", [("cashB", "cashA")]),
        ("party", "x = onlyA;", []),
        (
            "member",
            "x = Phase.RunOff; y = s == Status.Known;",
            [("RunOff", "Closed"), ("Known", "LastResort")],
        ),
        ("rounding", "x = L.fullMulDivUp(a, b, c);", [("fullMulDivUp", "fullMulDiv")]),
        (
            "rounding",
            "x = unitsUp(a) + unitsDown(b);",
            [("unitsUp", "unitsDown"), ("unitsDown", "unitsUp")],
        ),
        ("ternary", "x = a ? b : c;", [("b : c", "(c) : (b)")]),
        (
            "ternary",
            "x = f(a ? b ? c : d : e, g);",
            [("b ? c : d : e", "(e) : (b ? c : d)"), ("c : d", "(d) : (c)")],
        ),
        (
            "constant",
            "x = 30 days; y = 5_000;",
            [("30 days", "(30 days + 1)"), ("5_000", "(5_000 + 1)")],
        ),
        ("constant", "uint256[5] memory x = y;", []),
        ("assembly", "assembly { x := lt(a, add(b, 1)) }", [("lt", "gt"), ("add", "sub")]),
        (
            "statement",
            "assembly {\n x := f(a)\n let y := g(a)\n mstore(a, b) }",
            ["x := f(a)", "mstore(a, b)"],
        ),
    ],
)
def test_each_operator(operator: str, body: str, expected: list[tuple[str, str] | str]) -> None:
    found = changes(body, operator)
    assert len(found) == len(expected)
    for one, wanted in zip(sorted(found), sorted(map(_pair, expected)), strict=True):
        assert one[0] == wanted[0]
        assert wanted[1] in ("*", one[1])


def _pair(expected: tuple[str, str] | str) -> tuple[str, str]:
    return (expected, "*") if isinstance(expected, str) else expected


def test_modifiers_are_dropped_and_keywords_are_not() -> None:
    code = "contract C {\n function f(uint256 a) external view locks only(a) returns (bool) {}\n}"
    assert [mutant.original for mutant in mutants(code, "modifier")] == ["locks", "only(a)"]


@pytest.mark.parametrize(
    "text",
    [
        "// if (a < b) revert E();",
        "/// @notice a + b, Party.A, 30 days",
        "/* x = 1; */",
        'import {A, B} from "./a < b.sol";',
        "pragma solidity >=0.8.28;",
        "using L for T global;",
        'string constant S = "a < b || c == 1";',
        "type T is uint256;",
    ],
)
def test_what_is_not_code_stays(text: str) -> None:
    assert mutants_of(FILE, f"{text}\n") == []


def test_a_word_may_look_like_a_pragma_in_a_function() -> None:
    assert changes("x = type(uint256).max < a;", "comparison") == [("<", "<=")]


def test_assembly_has_only_its_own_operators() -> None:
    found = mutants_of(FILE, in_function("assembly {\n mstore(0x40, a)\n}"))
    assert {mutant.operator for mutant in found} == {"statement"}


def test_apply_changes_one_place_and_nothing_else() -> None:
    code = in_function("x = a < b; y = a < b;")
    first, second = mutants(code, "comparison")
    assert first.apply(code) == in_function("x = a <= b; y = a < b;")
    assert second.apply(code) == in_function("x = a < b; y = a <= b;")
    with pytest.raises(ValueError, match="has changed"):
        first.apply("// another\n" + code)


def test_key_follows_the_line_wherever_it_moves() -> None:
    code = in_function("x = a < b;\n x = a < b;")
    before, after = mutants(code, "comparison"), mutants("// above\n" + code, "comparison")
    assert [mutant.key for mutant in before] == [mutant.key for mutant in after]
    assert len({mutant.key for mutant in before}) == 2
    assert [mutant.line for mutant in after] == [mutant.line + 1 for mutant in before]


def _tree(root: Path) -> Path:
    for name, body in (("A", "if (a < 1) revert E();"), ("B", "x = 1;\n y = 2;\n z = a < b;")):
        path = root / f"contracts/src/{name}.sol"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(in_function(body))
    return root


def test_selection_by_file_line_and_operator(tmp_path: Path) -> None:
    root = _tree(tmp_path)
    every = select([], list(OPERATORS), 1, root)
    ranks = [list(OPERATORS).index(mutant.operator) for mutant in every]
    assert ranks == sorted(ranks)
    assert {mutant.file for mutant in every} == {"contracts/src/A.sol", "contracts/src/B.sol"}
    lines = select(["B.sol:4-5"], ["constant", "comparison"], 1, root)
    assert [(each.operator, each.line) for each in lines] == [("comparison", 5), ("constant", 4)]
    with pytest.raises(ValueError, match=r"no contract source is called C\.sol"):
        select(["C.sol"], list(OPERATORS), 1, root)


def test_the_seed_alone_decides_the_sample(tmp_path: Path) -> None:
    every = select([], list(OPERATORS), 0, _tree(tmp_path))
    samples = [tuple(mutant.key for mutant in draw_sample(every, 4, seed)) for seed in range(20)]
    again = [tuple(mutant.key for mutant in draw_sample(every, 4, seed)) for seed in range(20)]
    assert samples == again
    assert all(len(sample) == 4 for sample in samples)
    assert len(set(samples)) > 1


def test_tests_load_what_they_deploy() -> None:
    code = 'import {C} from "./C.sol";\ncontract T {\n C c = new C(f(1), "new C(2)");\n}\n'
    linked = link(code, {"C": "contracts/src/C.sol"}, "../V.sol")
    assert linked == (
        'import {C} from "./C.sol";\ncontract T {\n'
        ' C c = C(deployed("contracts/src/C.sol:C", abi.encode(f(1), "new C(2)")));\n'
        '}\nimport {deployed} from "../V.sol";\n'
    )
    arrays = "contract T {\n uint256[] a = new uint256[](2);\n}\n"
    assert link(arrays, {"C": "contracts/src/C.sol"}, "../V.sol") == arrays


def test_a_survivor_needs_a_reason(tmp_path: Path) -> None:
    one, two = mutants(in_function("x = a < b;\n y = a < b;"), "comparison")
    outcomes = [
        outcome_of(one, SURVIVED, "", 1.0),
        outcome_of(two, SURVIVED, "", 2.0),
        outcome_of(two, KILLED, "test_x", 3.0),
        outcome_of(two, STILLBORN, "the same code", 4.0),
    ]
    listed = tmp_path / "explained.toml"
    listed.write_text(
        f'[[explained]]\nfile = "{FILE}"\noperator = "comparison"\nsource = "x = a < b;"\n'
        'change = "< -> <="\nwhy = "a never equals b"\n'
    )
    reasons = read_explanations(listed)
    assert unexplained(outcomes, reasons) == [outcomes[1]]
    assert unexplained(outcomes, []) == outcomes[:2]
    assert "| comparison | 1 | 2 | 1 | 1 | 2.5 |" in markdown(outcomes, reasons)
    listed.write_text('[[explained]]\nfile = "x"\n')
    with pytest.raises(ValueError, match="missing"):
        read_explanations(listed)
    assert read_explanations(tmp_path / "none.toml") == []


def test_results_are_read_back(tmp_path: Path) -> None:
    (mutant,) = mutants(in_function("x = a < b;"), "comparison")
    outcomes = [outcome_of(mutant, KILLED, "test_x", 1.25)]
    path = tmp_path / "deep" / "results.json"
    assert read_outcomes(path) == ("", [])
    write_outcomes(path, "tree", outcomes)
    assert read_outcomes(path) == ("tree", outcomes)
