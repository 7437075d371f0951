"""The contracts on an EVM in this process: errors by name, storage read back.

The Adjudicator, its RiskEngine and the test token are those that ship; the oracle and the token
that refuses payments are the fakes of the contracts' own tests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from pyrevm import EVM, BlockEnv

from channels.chain.abi import Words, encode_arguments, encode_bytes, encode_words, selector
from channels.chain.artifacts import load_artifact
from channels.chain.events import decode_event
from channels.chain.reverts import Revert, decode_revert
from channels.chain.rpc import Log
from channels.protocol.eip712 import Address, word
from channels.protocol.facts import ChainEvent, OnChainPhase
from channels.protocol.terms import Domain
from channels.protocol.types import Party
from channels.testing import ChannelRecord, Status
from channels.testing.storage import NOWHERE

FAKES: Final = {
    "FakeOracle": "contracts/test/utils/FakeOracle.sol",
    "HostileToken": "contracts/test/utils/HostileToken.sol",
}
TOKEN_NAME: Final = "Test Dollar"

_CHAIN_ID: Final = 1
"""This EVM's, unless told another."""

_GAS: Final = 16_777_216
"""Of one transaction (EIP-7825)."""

_function = cache(selector)

_DEPLOYER: Final = Address(b"\x01" * 20)
_OUTPUT: Final = re.compile(r"^Revert \{ gas_used: \d+, output: 0x([0-9a-f]*) \}$")
_REVERTS: Final = 5
"""HostileToken's fault of that name; 0 is none."""
_BURNS_GAS: Final = 2
"""FakeOracle's fault of that name; 0 is none, 1 reverts."""


class RevertedError(Exception):
    """A call reverted, for the reason given."""

    def __init__(self, revert: Revert) -> None:
        super().__init__(revert.text)
        self.revert = revert


class Contracts:
    """A chain that holds one Adjudicator, two tokens and an oracle.

    ``plain`` is the test token, ``picky`` the one that can refuse a payee.
    """

    def __init__(self, fakes: Mapping[str, Mapping[str, Any]]) -> None:
        """Deploy everything; ``fakes`` are the compiled `FAKES`."""
        self._evm = EVM(spec_id="PRAGUE", gas_limit=_GAS)
        engine = self._deploy(load_artifact("RiskEngine").creation)
        adjudicator = self._deploy(load_artifact("Adjudicator").creation + encode_words(engine))
        self.domain = Domain(chain_id=_CHAIN_ID, adjudicator=adjudicator)
        self.events: tuple[ChainEvent, ...] = ()
        text = encode_bytes(TOKEN_NAME.encode())
        self.plain = self._deploy(
            load_artifact("TestToken").creation
            + encode_arguments((0, 0, 6), {0: text, 1: encode_bytes(b"TD")})
        )
        codes = {
            name: bytes.fromhex(fake["creation"].removeprefix("0x")) for name, fake in fakes.items()
        }
        self.picky = self._deploy(codes["HostileToken"])
        self.oracle = self._deploy(codes["FakeOracle"])

    def _deploy(self, code: bytes) -> Address:
        deployed = self._evm.deploy(_hex(_DEPLOYER), code)
        return Address(bytes.fromhex(deployed[2:]))

    # ---- calls

    def set_time(self, now: int) -> None:
        self._evm.set_block_env(BlockEnv(timestamp=now))

    def send(self, data: bytes, *, sender: Address, to: Address | None = None) -> bytes:
        """Send a transaction, to the Adjudicator by default, and return its output.

        Raises:
            RevertedError: it reverted.
        """
        target = self.domain.adjudicator if to is None else to
        self.events = ()
        try:
            answer = self._evm.message_call(_hex(sender), _hex(target), calldata=data, gas=_GAS)
        except RuntimeError as error:
            found = _OUTPUT.match(str(error))
            if found is None:
                raise
            raise RevertedError(decode_revert(bytes.fromhex(found[1]))) from error
        self.events = self._emitted(data)
        return answer

    def _emitted(self, data: bytes) -> tuple[ChainEvent, ...]:
        """What the Adjudicator has just emitted, read as from a chain, at no place of one."""
        assert self._evm.result is not None
        logs = [
            Log(
                address=Address(bytes.fromhex(each.address[2:])),
                topics=tuple(bytes.fromhex(topic[2:]) for topic in each.topics),
                data=bytes(each.data[1]),
                **NOWHERE,
            )
            for each in self._evm.result.logs
        ]
        ours = self.domain.adjudicator
        decoded = [decode_event(each, data) for each in logs if each.address == ours]
        return tuple(each for each in decoded if each is not None)

    def _view(self, data: bytes, to: Address | None = None) -> Words:
        target = self.domain.adjudicator if to is None else to
        answer = self._evm.message_call(
            _hex(_DEPLOYER), _hex(target), calldata=data, is_static=True
        )
        return Words(answer)

    # ---- reads

    def channel(self, channel_id: bytes) -> ChannelRecord:
        """What is stored of a channel."""
        words = self._view(_function("channel(bytes32)") + channel_id)
        phase, nonce, filed_nonce = words.unsigned(8), words.unsigned(64), words.unsigned(64)
        filer, deadline = words.unsigned(8), words.unsigned(32)
        cure_ends = words.unsigned(32), words.unsigned(32)
        flags, portfolio_hash = words.unsigned(16), words.word()
        assert flags < 8
        return ChannelRecord(
            phase=OnChainPhase(phase),
            nonce=nonce,
            filed_nonce=filed_nonce,
            filer=Party(filer - 1) if filer else None,
            deadline=deadline,
            cure_ends=cure_ends,
            portfolio_hash=portfolio_hash,
            contributions=(words.signed(128), words.signed(128)),
            settled=bool(flags & 1),
            released=frozenset(party for party in Party if flags & 2 << party),
        )

    def phase(self, channel_id: bytes) -> OnChainPhase:
        """The phase that counts."""
        return OnChainPhase(self._view(_function("phaseNow(bytes32)") + channel_id).unsigned())

    def balance(self, token: Address, owner: Address) -> int:
        return self._view(_function("balanceOf(address)") + encode_words(owner), token).unsigned()

    def claimable(self, token: Address, payee: Address) -> int:
        data = _function("claimable(address,address)") + encode_words(token, payee)
        return self._view(data).unsigned()

    def dispute_count(self) -> int:
        return self._view(_function("disputeCount()")).unsigned()

    # ---- the fakes

    def mint(self, token: Address, owner: Address, amount: int) -> None:
        data = _function("mint(address,uint256)") + encode_words(owner, amount)
        self.send(data, sender=_DEPLOYER, to=token)

    def approve(self, token: Address, owner: Address, amount: int) -> None:
        words = encode_words(self.domain.adjudicator, amount)
        self.send(_function("approve(address,uint256)") + words, sender=owner, to=token)

    def refuse_payments(self, payee: Address | None) -> None:
        """Let the picky token refuse this payee, or none."""
        fault = 0 if payee is None else _REVERTS
        words = encode_words(fault, payee or bytes(20))
        head = _function("setFault(uint8,address)")
        self.send(head + words, sender=_DEPLOYER, to=self.picky)

    def set_price(self, feed: bytes, time: int, status: Status, price: int) -> None:
        head = _function("set(bytes32,uint64,uint8,uint256)")
        self._tell_oracle(head + encode_words(feed, time, status, price))

    def set_spot(self, feed: bytes, price: int, updated_at: int) -> None:
        head = _function("setSpot(bytes32,uint256,uint256)")
        self._tell_oracle(head + encode_words(feed, price, updated_at))

    def set_dead(self, dead: bool) -> None:
        """Let the oracle burn all gas it is given, and fail for a spot."""
        self._tell_oracle(_function("setFault(uint8)") + word(_BURNS_GAS * dead))
        self._tell_oracle(_function("setSpotFails(bool)") + word(dead))

    def _tell_oracle(self, data: bytes) -> None:
        self.send(data, sender=_DEPLOYER, to=self.oracle)


def _hex(address: Address) -> str:
    return "0x" + address.hex()
