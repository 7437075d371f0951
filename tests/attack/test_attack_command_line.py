"""Attack: text from outside that reaches a trader's configuration, terminal or terms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from channels.cli.desk.home import check_config, read_home
from channels.cli.desk.session import Collateral, risk_of, usual_terms
from channels.cli.desk.setting_up import _CONFIG, _spot_line, _toml, own_card
from channels.cli.failing import printable
from channels.errors import InvalidValueError, SignerError
from channels.peer import default_terms
from channels.protocol.eip712 import Address
from tests.protocol.build import DEPOSIT, UNIT, make_opening, make_terms

TERMS = make_terms()
GOOD = 'rpc = ["http://x"]\ndeployment = "d"\nsigner = "keystore:s"\nwallet = "w"\n'
NASTY = ['x"\nrpc = ["http://evil"]\n#', "back\\slash", "tab\tnul\0del\x7f", "ü€😀", '"""', "'"]


@pytest.mark.parametrize("text", NASTY)
def test_what_is_asked_for_is_what_the_configuration_says(text: str, tmp_path: Path) -> None:
    written = _CONFIG.format(
        rpc=_toml(text),
        deployment=_toml(text),
        finality="0",
        listen=f"listen = {_toml(text)}",
        most_deposit=_toml("5"),
        vol=_toml("0.6"),
        prices="",
        spots=_spot_line(text.replace("=", "") + "=3000"),
    )
    home = check_config(written, tmp_path)
    assert home.rpc == (text,)
    assert home.deployment == tmp_path / text
    assert home.listen == text
    assert home.spots == {text.replace("=", ""): "3000"}
    assert home.most_deposit == 5


def test_a_name_that_is_no_text() -> None:
    with pytest.raises(InvalidValueError, match="is not UTF-8"):
        _toml("\udcff")


def test_a_price_that_is_none_is_told_before_there_are_keys(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"spots\.ETH-USD"):
        check_config(GOOD + "[spots]\n" + _spot_line("ETH-USD=dear"), tmp_path)


@pytest.mark.parametrize("content", [b"\xff", b"[]", b"{}", b"not json"])
def test_a_key_file_that_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(GOOD)
    (tmp_path / "w").write_bytes(content)
    (tmp_path / "s").write_text(json.dumps({"address": "11" * 20}))
    with pytest.raises(SignerError, match="is no keystore"):
        own_card(read_home(tmp_path))


def test_a_counterparty_writes_nothing_on_our_terminal() -> None:
    """Neither colours and titles, nor a line of its own that looks like one of ours."""
    said = "no\x1b]0;pwned\x07\r\n0x12 ChangeConfirmed nonce 3\u202e"
    shown = printable(said)
    assert len(shown) == len(said)
    assert shown.isprintable()
    assert printable("spot 3000, ours 2990 – ü€") == "spot 3000, ours 2990 – ü€"


# -- terms that a desk nobody sits at is asked for


@attrs.frozen
class Contracts:
    """The part of a deployment that terms name."""

    oracle: Address


def agreed(tmp_path: Path, **changes: Any) -> bool:
    home = check_config(GOOD + "[spots]\n" + _spot_line("ETH-USD=3000"), tmp_path)
    usual = default_terms(
        **{name: getattr(TERMS, name) for name in ("party_a", "party_b", "signer_a", "signer_b")},
        collateral=TERMS.collateral,
        unit=UNIT,
        oracle=TERMS.oracle,
        risk=risk_of(home),
        stale_penalty=DEPOSIT // 20,
    )
    opening = make_opening(
        terms=attrs.evolve(usual, **changes), deposit_a=DEPOSIT, deposit_b=2 * DEPOSIT
    )
    contracts: Any = Contracts(TERMS.oracle)
    collateral = Collateral(token=TERMS.collateral, unit=UNIT)
    return usual_terms(opening, contracts, collateral, home) == opening.terms


@pytest.mark.parametrize(
    ("changes", "agrees"),
    [
        ({}, True),
        ({"stale_penalty": 0}, True),
        ({"stale_penalty": DEPOSIT // 20 + 1}, False),
        ({"dispute_window": 3_600}, False),
        ({"cure_window": 3_600}, False),
        ({"max_mark_age": 3_600}, False),
        ({"default_penalty_bps": 5_000}, False),
        ({"oracle": Address(b"\x66" * 20)}, False),
        ({"collateral": Address(b"\x66" * 20)}, False),
        ({"unit": UNIT // 10}, False),
    ],
)
def test_only_usual_terms(changes: dict[str, Any], agrees: bool, tmp_path: Path) -> None:
    assert agreed(tmp_path, **changes) is agrees
