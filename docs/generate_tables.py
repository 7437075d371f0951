"""Write the tables and listings of README.md and docs/ that follow from the sources.

    python docs/generate_tables.py            write them into the pages
    python docs/generate_tables.py --check    compare, write nothing; exit status 1 if they differ

A page marks where each stands: ``<!-- generated: name -->`` ... ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import attrs
import click

import channels.errors
from channels import __version__
from channels.chain.create2 import PROXY
from channels.chain.deployments import DeployedContract, Deployment, load_deployment
from channels.chain.explanations import EXPLANATIONS
from channels.chain.plan import RELEASE_SALT, core_contracts, token_contract
from channels.cli.main import main as command_line
from channels.protocol import changes, codec, messages
from channels.protocol.channel import Phase
from channels.protocol.eip712 import checksum
from channels.protocol.machine import COMMANDS, TABLE

DOCS: Final = Path(__file__).resolve().parent
ROOT: Final = DOCS.parent
SOURCES: Final = ROOT / "contracts" / "src"
EXAMPLES: Final = ROOT / "examples"
LOCAL_CHAINS: Final = (1337, 31337)
"""Ids of development chains, whose records concern nobody else."""


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join([_row(*head), _row(*["---"] * len(head)), *(_row(*row) for row in rows)])


def _first_sentence(documented: object) -> str:
    """The first paragraph of a docstring, on one line, its ``literals`` as Markdown has them."""
    paragraph = (inspect.getdoc(documented) or "").split("\n\n")[0]
    return _markdown(" ".join(paragraph.split()))


def _markdown(text: str) -> str:
    return text.replace("``", "`")


# ---- the machine


def _member_docs(cls: type[IntEnum]) -> dict[str, str]:
    """What stands as a string below each member of an enumeration."""
    (body,) = ast.parse(inspect.getsource(cls)).body
    if not isinstance(body, ast.ClassDef):
        raise TypeError(f"{cls} is no class")
    docs, member = {}, ""
    for statement in body.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]):
                member = name
            case ast.Expr(value=ast.Constant(value=str(text))) if member:
                docs[member] = " ".join(text.split())
    return docs


def _enumeration(cls: type[IntEnum], name: str) -> str:
    docs = _member_docs(cls)
    rows = [(str(int(each)), f"`{each.name}`", _markdown(docs.get(each.name, ""))) for each in cls]
    return _table(("number", name, "meaning"), rows)


def phases() -> str:
    """Every phase of the machine, and what it means."""
    return _enumeration(Phase, "phase")


def transitions() -> str:
    """(event, phase): a dot where the table has a handler."""
    events = list(dict.fromkeys(event for _, event in TABLE))
    rows = []
    for event in [*_commands(events), *_messages(events)]:
        kind = "command" if event in COMMANDS else "message"
        legal = ["●" if (phase, event) in TABLE else "" for phase in Phase]
        rows.append((f"`{event.__name__}`", kind, *legal))
    return _table(("event", "kind", *(f"`{phase.name}`" for phase in Phase)), rows)


def _commands(events: list[type]) -> list[type]:
    return sorted((each for each in events if each in COMMANDS), key=lambda each: each.__name__)


def _messages(events: list[type]) -> list[type]:
    order = {cls: tag for tag, (cls, _) in codec.MESSAGES.items()}
    return sorted((each for each in events if each in order), key=order.__getitem__)


def handlers() -> str:
    """What each event does: the first sentence of its handler."""
    found: dict[type, Callable[..., Any]] = {event: done for (_, event), done in TABLE.items()}
    rows = [
        (f"`{event.__name__}`", _first_sentence(event), _first_sentence(found[event]))
        for event in [*_commands(list(found)), *_messages(list(found))]
    ]
    return _table(("event", "what it says", "what the machine does"), rows)


# ---- messages


def message_table() -> str:
    """Every message with its tag and fields, in the order of the wire."""
    rows = [
        (str(tag), f"`{cls.__name__}`", _fields(cls), _first_sentence(cls))
        for tag, (cls, _) in sorted(codec.MESSAGES.items())
    ]
    return _table(("tag", "message", "fields", "meaning"), rows)


def change_table() -> str:
    """The changes a boxed state may announce, with their tags."""
    rows = [
        (str(tag), f"`{cls.__name__}`", _fields(cls), _first_sentence(cls))
        for tag, cls in enumerate((changes.Remark, changes.Trade, changes.Settlement))
    ]
    return _table(("tag", "change", "fields", "meaning"), rows)


def reasons() -> str:
    """Why something was refused."""
    return _enumeration(messages.Reason, "reason")


def _fields(cls: type) -> str:
    return ", ".join(f"`{field.name}`" for field in attrs.fields(cls)) or "none"


# ---- the contracts


@attrs.frozen
class _Declaration:
    """A function, event or error of a Solidity source, with what is said above it."""

    kind: str
    name: str
    signature: str
    docs: tuple[tuple[str, str], ...]

    def text(self, *tags: str) -> str:
        """What stands under these tags, one paragraph each."""
        return "\n\n".join(text for tag, text in self.docs if tag in tags and text)


_DECLARED: Final = re.compile(r"(function|event|error)\s+(\w+)")


def _declarations(path: Path) -> Iterator[_Declaration]:
    comments: list[str] = []
    lines = iter(path.read_text().splitlines())
    for line in lines:
        stripped = line.strip()
        if stripped.startswith("///"):
            comments.append(stripped[3:].strip())
            continue
        found = _DECLARED.match(stripped)
        if found is not None:
            while not stripped.endswith((";", "{")):
                stripped += " " + next(lines).strip()
            yield _Declaration(
                found[1], found[2], _one_line(stripped.rstrip(";{ ")), _natspec(comments)
            )
        comments = []


def _one_line(signature: str) -> str:
    return re.sub(r"\( ", "(", re.sub(r" \)", ")", " ".join(signature.split())))


def _natspec(comments: list[str]) -> tuple[tuple[str, str], ...]:
    """Tags and their paragraphs; text without a tag is a notice."""
    parts: list[tuple[str, list[str]]] = []
    for line in comments:
        tag = re.match(r"@(\w+)\s*", line)
        if tag is not None:
            parts.append((tag[1], [line[tag.end() :]]))
        elif not line and parts:
            parts.append((parts[-1][0], []))
        elif parts:
            parts[-1][1].append(line)
        else:
            parts.append(("notice", [line]))
    return tuple((tag, " ".join(lines)) for tag, lines in parts)


def calls_by_phase() -> str:
    """The table of phases and calls that the contract's interface opens with."""
    source = (SOURCES / "interfaces" / "IAdjudicator.sol").read_text()
    lines = [line.strip()[3:].strip() for line in source.splitlines() if "///" in line]
    table = [line for line in lines if line.startswith("|")]
    notes = [line for line in lines if re.match(r"\(\d\)", line)]
    return "\n".join([*table, "", *notes])


def _functions(path: Path) -> str:
    parts = []
    for each in _declarations(path):
        if each.kind != "function":
            continue
        parameters = [f"- {_parameter(text)}" for tag, text in each.docs if tag == "param"]
        parts += [f"### `{each.name}`", f"```solidity\n{_wrapped(each.signature)}\n```"]
        parts += [each.text("notice"), each.text("dev"), "\n".join(parameters)]
        parts += [f"Returns {_parameter(text)}" for tag, text in each.docs if tag == "return"]
    return "\n\n".join(part for part in parts if part)


def _parameter(text: str) -> str:
    name, _, meaning = text.partition(" ")
    return f"`{name}`: {meaning}"


def _wrapped(signature: str) -> str:
    """One parameter a line where the whole is too long to read."""
    if len(signature) <= 100:
        return signature + ";"
    head, rest = signature.split("(", 1)
    inside, tail = rest.split(")", 1)
    return head + "(\n    " + ",\n    ".join(inside.split(", ")) + "\n)" + tail + ";"


def _listed(path: Path, kind: str) -> str:
    rows = [
        (f"`{each.signature.split(' ', 1)[1]}`", each.text("notice", "dev").replace("\n\n", " "))
        for each in _declarations(path)
        if each.kind == kind
    ]
    return _table((kind, "meaning"), rows)


INTERFACES: Final = SOURCES / "interfaces"
RISK_ENGINE: Final = SOURCES / "risk" / "IRiskEngine.sol"


def _contract(title: str, path: Path) -> dict[str, Callable[[], str]]:
    """Sections of a contract: its calls, and what it emits and reverts with."""
    return {
        title: lambda: _functions(path),
        f"{title} events": lambda: _listed(path, "event"),
        f"{title} errors": lambda: _listed(path, "error"),
    }


def refusals() -> str:
    """What Python says of each error: whose fault, why, and what to do."""
    rows = [
        (f"`{name}`", each.fault, each.why, each.next_step)
        for name, each in sorted(EXPLANATIONS.items())
    ]
    return _table(("`reason`", "`fault`", "why", "`next_step`"), rows)


# ---- the command line and the errors


def command_help() -> str:
    """What ``--help`` prints, of every command that is not hidden."""
    parts = [_help(command_line, None, "option-channels")]
    context = click.Context(command_line, info_name="option-channels")
    for name, command in sorted(command_line.commands.items()):
        if command.hidden:
            continue
        parts += [f"## {name}", _help(command, context, name)]
        if isinstance(command, click.Group):
            within = click.Context(command, info_name=name, parent=context)
            for each, inner in sorted(command.commands.items()):
                parts += [f"### {name} {each}", _help(inner, within, each)]
    return "\n\n".join(parts)


def _help(command: click.Command, parent: click.Context | None, name: str) -> str:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=90)
    return f"```text\n{command.get_help(context)}\n```"


def error_tree() -> str:
    """The tree of errors that opens `channels.errors`."""
    text = inspect.getdoc(channels.errors) or ""
    tree = inspect.cleandoc(text.split("::\n", 1)[1])
    return f"```text\n{tree.strip()}\n```"


# ---- deployments


def release_addresses() -> str:
    """Where this version's contracts stand on every chain they are deployed to."""
    planned = [DeployedContract.of(each) for each in (*core_contracts(), token_contract())]
    table = _addresses(planned)
    compilers = {each.compiler_hash for each in planned}
    facts = [
        ("version", __version__),
        ("deployment proxy", f"`{checksum(PROXY)}`"),
        ("salt", f"`0x{RELEASE_SALT.hex()}`"),
        ("compiler hash", ", ".join(f"`0x{each.hex()}`" for each in sorted(compilers))),
    ]
    return f"{table}\n\n{_table(('of all', 'value'), facts)}"


def public_deployments() -> str:
    """The records of deployments to public networks."""
    records = [load_deployment(path) for path in sorted((ROOT / "deployments").glob("*.json"))]
    public = [each for each in records if each.chain_id not in LOCAL_CHAINS]
    if not public:
        return "None: no version has been deployed to a public network."
    return "\n\n".join(map(_deployment, public))


def _deployment(deployment: Deployment) -> str:
    title = f"### Chain {deployment.chain_id}, version {deployment.version}"
    return f"{title}\n\n{_addresses(deployment.contracts)}"


def _addresses(contracts: Sequence[DeployedContract]) -> str:
    rows = [
        (f"`{each.name}`", f"`{checksum(each.address)}`", f"`0x{each.creation_hash.hex()}`")
        for each in contracts
    ]
    return _table(("contract", "address", "creation hash"), rows)


# ---- the examples


def first_trade() -> str:
    """The program of the tutorial."""
    return f"```python\n{(EXAMPLES / 'first_trade.py').read_text()}```"


def first_trade_transcript() -> str:
    """What it prints."""
    return f"```text\n{(EXAMPLES / 'first_trade.txt').read_text()}```"


SECTIONS: Final[dict[str, Callable[[], str]]] = {
    "phases": phases,
    "transitions": transitions,
    "handlers": handlers,
    "messages": message_table,
    "changes": change_table,
    "reasons": reasons,
    "calls by phase": calls_by_phase,
    "adjudicator": lambda: _functions(INTERFACES / "IAdjudicator.sol"),
    "adjudicator events": lambda: _listed(SOURCES / "libraries" / "Events.sol", "event"),
    "adjudicator errors": lambda: _listed(SOURCES / "libraries" / "Errors.sol", "error"),
    "oracle": lambda: _functions(INTERFACES / "IOracle.sol"),
    **_contract("attested oracle", INTERFACES / "IAttestedOracle.sol"),
    **_contract("chainlink oracle", INTERFACES / "IChainlinkOracle.sol"),
    **_contract("fallback oracle", INTERFACES / "IFallbackOracle.sol"),
    **_contract("risk engine", RISK_ENGINE),
    "refusals": refusals,
    "command line": command_help,
    "errors": error_tree,
    "release addresses": release_addresses,
    "public deployments": public_deployments,
    "first trade": first_trade,
    "first trade transcript": first_trade_transcript,
}

_SECTION: Final = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def generated(page: str) -> str:
    """A page with its tables as the sources have them now."""
    return _SECTION.sub(
        lambda found: f"{found[1]}\n{SECTIONS[found[2]]().strip()}\n\n{found[3]}", page
    )


def main() -> int:
    """Run the tool; 0 if the pages say what the sources say."""
    parser = argparse.ArgumentParser(description="Generate what follows from the sources.")
    parser.add_argument("--check", action="store_true", help="compare only; 1 if they differ")
    check = parser.parse_args().check
    stale = False
    for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]:
        page = path.read_text()
        fresh = generated(page)
        if fresh == page:
            continue
        stale = True
        print(f"{path.relative_to(ROOT)}: {'out of date' if check else 'written'}")
        if not check:
            path.write_text(fresh)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
