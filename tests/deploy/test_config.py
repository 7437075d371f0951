"""The configuration of oracles."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_abi.abi import encode

from channels.cli.deploy.config import read_oracles
from channels.errors import InvalidValueError
from channels.protocol.types import feed_id

A = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
B = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
ATTESTED = f"""
[oracles.attested]
contract = "AttestedOracle"
attesters = ["{A}", "{B}"]
threshold = 2
challenge_delay = 1800
grace = 259200
"""
CHAINLINK = f"""
[oracles.chainlink]
contract = "ChainlinkOracle"
grace = 259200
feeds = [
    {{ feed = "ETH-USD", proxy = "{A}", heartbeat = 3600 }},
    {{ feed = "0x{"ab" * 32}", proxy = "{B}", heartbeat = 86400 }},
]
"""
BOTH = f"""
[oracles.both]
contract = "FallbackOracle"
primary = "chainlink"
secondary = "{A}"
delay = 3600
spot_delay = 600
grace = 345600
"""


def test_arguments_as_the_constructors_take_them(tmp_path: Path) -> None:
    """Encoded by eth-abi from values written out by hand."""
    path = tmp_path / "oracles.toml"
    path.write_text(ATTESTED + CHAINLINK + BOTH)
    attested, chainlink, both = read_oracles(path)
    assert attested.encoded_arguments == encode(
        ["address[]", "uint8", "uint32", "uint32"], [[A, B], 2, 1800, 259200]
    )
    assert chainlink.encoded_arguments == encode(
        ["(bytes32,address,uint32)[]", "address", "uint32"],
        [
            [(feed_id("ETH-USD"), A, 3600), (b"\xab" * 32, B, 86400)],
            "0x" + "00" * 20,
            259200,
        ],
    )
    assert both.encoded_arguments == encode(
        ["address", "address", "uint32", "uint32", "uint32"],
        [chainlink.address, A, 3600, 600, 345600],
    )
    assert [each.name for each in (attested, chainlink, both)] == ["attested", "chainlink", "both"]


def test_a_sequencer_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "oracles.toml"
    path.write_text(CHAINLINK + f'sequencer_feed = "{B}"\n')
    (chainlink,) = read_oracles(path)
    assert chainlink.arguments["sequencerFeed"] == B


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[oracles", "cannot be read"),
        ("[others.x]", "not others"),
        ('[oracles.x]\ncontract = "Adjudicator"', "contract is one of"),
        (ATTESTED.replace("attested]", "Adjudicator]"), "not named like a contract"),
        (ATTESTED + "owner = 1", "not of .*owner"),
        (ATTESTED.replace("threshold = 2", ""), "is made of attesters, threshold"),
        (ATTESTED.replace("threshold = 2", 'threshold = "2"'), "threshold is of type uint8"),
        (ATTESTED.replace(A, A.replace("C51812", "C51813")), "checksum"),
        (BOTH, "'chainlink' is no address"),
        (BOTH + CHAINLINK, "'chainlink' is no address"),
        (CHAINLINK.replace("heartbeat = 3600", "beat = 3600"), "is made of feed, proxy, heartbeat"),
        (CHAINLINK.replace("ETH-USD", "E" * 33), "32"),
    ],
)
def test_what_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "oracles.toml"
    path.write_text(text)
    with pytest.raises(InvalidValueError, match=message):
        read_oracles(path)
