"""Digests of everything that is signed: ours, eth-account's and the contract's are the same.

Ten thousand random states, with every integer type at its extremes and 0 to 128 positions, and
hundreds of every other type. eth-account's general EIP-712 encoder reads the types below, which
are written out as a wallet would show them, not taken from the code under test.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trio
from eth_account.messages import encode_typed_data
from web3.types import RPCEndpoint

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from channels.chain.abi import (  # noqa: E402
    closing_words,
    encode_arguments,
    encode_portfolio,
    encode_state,
    encode_words,
    selector,
    terms_words,
)
from channels.chain.accounts import LocalAccount  # noqa: E402
from channels.chain.deploy import send_now  # noqa: E402
from channels.chain.jobs import Intent  # noqa: E402
from channels.chain.provider import TrioHTTPProvider, open_provider  # noqa: E402
from channels.chain.rpc import Rpc  # noqa: E402
from channels.protocol.eip712 import Address, checksum, keccak  # noqa: E402
from channels.protocol.terms import (  # noqa: E402
    DisputeAuthorisation,
    Domain,
    Opening,
    RiskParams,
    Signed,
    Terms,
    channel_id,
)
from channels.protocol.types import (  # noqa: E402
    Closing,
    Portfolio,
    Position,
    Spot,
    State,
    Withdrawal,
)
from tools import build_artifacts  # noqa: E402

STATES = 10_000
OTHERS = 300
CHUNKS = 8

TYPES = {
    "Terms": "address partyA,address partyB,address signerA,address signerB,address collateral,"
    "uint128 unit,address oracle,uint32 disputeWindow,uint32 cureWindow,uint32 settlementGrace,"
    "uint32 maxPriceAge,uint32 maxMarkAge,uint32 maxTenor,uint16 maxInFlight,uint128 stalePenalty,"
    "uint16 defaultPenaltyBps,bytes32 riskHash,bytes32 salt",
    "Position": "bytes32 feed,uint8 kind,uint64 expiry,uint128 strike,int128 quantity,uint128 vol,"
    "int128 carry",
    "Spot": "bytes32 feed,uint128 price",
    "Portfolio": "int128 netToB,uint128 marginA,uint128 marginB,uint64 markedAt,Spot[] spots,"
    "Position[] positions",
    "State": "bytes32 channelId,uint64 nonce,uint64 validUntil,Portfolio portfolio",
    "Opening": "Terms terms,uint128 depositA,uint128 depositB,uint64 validUntil",
    "Withdrawal": "State state,uint128 amountA,uint128 amountB",
    "Closing": "bytes32 channelId,uint64 nonce,uint64 validUntil,int128 netToB",
    "DisputeAuthorisation": "bytes32 channelId,address delegate,uint64 minNonce,uint64 validUntil",
    "RiskParams": "bytes32 feed,uint64 priceRange,uint64 volUp,uint64 volDown,uint64 lookAhead,"
    "uint64 calendar,uint64 strike,uint64 carryBase,uint64 carrySlope,uint64 shortMinimum,"
    "uint64 imFactor,uint64 shiftBase,uint64 shiftPerRootHour,uint64 runOffFactor",
}
MEMBERS = {
    name: [
        {"type": kind, "name": member}
        for kind, member in (each.split(" ") for each in text.split(","))
    ]
    for name, text in TYPES.items()
}
NEEDS = {
    "State": ("Portfolio", "Spot", "Position"),
    "Withdrawal": ("State", "Portfolio", "Spot", "Position"),
    "Opening": ("Terms",),
    "Portfolio": ("Spot", "Position"),
}


# ---- random values, extremes among them


class Values:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def unsigned(self, bits: int) -> int:
        choice = self.random.random()
        if choice < 0.15:
            return 0
        if choice < 0.3:
            return (1 << bits) - 1
        if choice < 0.6:
            return self.random.getrandbits(self.random.randint(1, bits))
        return self.random.getrandbits(bits)

    def signed(self) -> int:
        choice = self.random.random()
        if choice < 0.15:
            return 2**127 - 1
        if choice < 0.3:
            return -(2**127)
        if choice < 0.4:
            return self.random.choice((-1, 0, 1))
        return self.random.getrandbits(self.random.randint(1, 127)) * self.random.choice((-1, 1))

    def bytes(self, length: int) -> bytes:
        drawn = [bytes(length), b"\xff" * length, *[self.random.randbytes(length)] * 6]
        return drawn[self.random.randrange(len(drawn))]

    def address(self) -> Address:
        return Address(self.bytes(20))

    def size(self) -> int:
        choice = self.random.random()
        if choice < 0.02:
            return int(self.random.choice((127, 128, self.random.randint(4, 128))))
        return int(self.random.choice((0, 1, 1, 2, 3)))

    def position(self) -> Position:
        return Position(
            feed=self.bytes(32),
            kind=self.unsigned(8),
            expiry=self.unsigned(64),
            strike=self.unsigned(128),
            quantity=self.signed() or 1,
            vol=self.unsigned(128),
            carry=self.signed(),
        )

    def portfolio(self) -> Portfolio:
        positions: dict[object, Position] = {}
        wanted = self.size()
        while len(positions) < wanted:
            position = self.position()
            positions[position.series] = position
        spots: dict[bytes, int] = {}
        wanted = self.size()
        while len(spots) < wanted:
            spots[self.bytes(32)] = self.unsigned(128)
        return Portfolio(
            net_to_b=self.signed(),
            margin_a=self.unsigned(128),
            margin_b=self.unsigned(128),
            marked_at=self.unsigned(64),
            spots=tuple(Spot(feed=feed, price=spots[feed]) for feed in sorted(spots)),
            positions=tuple(sorted(positions.values(), key=lambda each: each.series)),
        )

    def state(self) -> State:
        return State(
            channel_id=self.bytes(32),
            nonce=self.unsigned(64),
            valid_until=self.unsigned(64),
            portfolio=self.portfolio(),
        )

    def terms(self) -> Terms:
        words32 = [self.unsigned(32) for _ in range(6)]
        addresses = [self.address() for _ in range(6)]
        return Terms(
            party_a=addresses[0],
            party_b=addresses[1],
            signer_a=addresses[2],
            signer_b=addresses[3],
            collateral=addresses[4],
            unit=self.unsigned(128),
            oracle=addresses[5],
            dispute_window=words32[0],
            cure_window=words32[1],
            settlement_grace=words32[2],
            max_price_age=words32[3],
            max_mark_age=words32[4],
            max_tenor=words32[5],
            max_in_flight=self.unsigned(16),
            stale_penalty=self.unsigned(128),
            default_penalty_bps=self.unsigned(16),
            risk_hash=self.bytes(32),
            salt=self.bytes(32),
        )

    def opening(self) -> Opening:
        return Opening(
            terms=self.terms(),
            deposit_a=self.unsigned(128),
            deposit_b=self.unsigned(128),
            valid_until=self.unsigned(64),
        )

    def withdrawal(self) -> Withdrawal:
        return Withdrawal(
            state=self.state(), amount_a=self.unsigned(128), amount_b=self.unsigned(128)
        )

    def closing(self) -> Closing:
        return Closing(
            channel_id=self.bytes(32),
            nonce=self.unsigned(64),
            valid_until=self.unsigned(64),
            net_to_b=self.signed(),
        )

    def authorisation(self) -> DisputeAuthorisation:
        return DisputeAuthorisation(
            channel_id=self.bytes(32),
            delegate=self.address(),
            min_nonce=self.unsigned(64),
            valid_until=self.unsigned(64),
        )

    def risk(self) -> RiskParams:
        names = [each["name"] for each in MEMBERS["RiskParams"]][1:]
        return RiskParams(
            feed=self.bytes(32), **{_snake(each): self.unsigned(64) for each in names}
        )

    def domain(self) -> Domain:
        chain_id = self.random.choice((1, 10, 31337, 2**256 - 1, self.random.getrandbits(64)))
        return Domain(chain_id=chain_id, adjudicator=self.address())


def _snake(name: str) -> str:
    return "".join("_" + each.lower() if each.isupper() else each for each in name)


def plain(value: object) -> Any:
    """A value as a wallet's JSON has it, members by their Solidity names."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, int):
        return value
    if isinstance(value, bytes):
        return checksum(Address(value)) if len(value) == 20 else value
    members = MEMBERS[type(value).__name__]
    return {each["name"]: plain(getattr(value, _snake(each["name"]))) for each in members}


# ---- eth-account


def typed_digest(value: object, domain: Domain) -> bytes:
    name = type(value).__name__
    message = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                **{each: MEMBERS[each] for each in (name, *NEEDS.get(name, ()))},
            },
            "primaryType": name,
            "domain": {
                "name": "OptionChannels",
                "version": "1",
                "chainId": domain.chain_id,
                "verifyingContract": checksum(domain.adjudicator),
            },
            "message": plain(value),
        }
    )
    return keccak(b"\x19\x01" + message.header + message.body)


@cache
def states(chunk: int) -> tuple[State, ...]:
    values = Values(chunk)
    return tuple(values.state() for _ in range(STATES // CHUNKS))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_states_hash_as_eth_account_hashes_them(chunk: int) -> None:
    values = Values(100 + chunk)
    for state in states(chunk):
        domain = values.domain()
        assert domain.digest(state) == typed_digest(state, domain)


def test_samples_reach_the_extremes() -> None:
    sample = [state for chunk in range(CHUNKS) for state in states(chunk)]
    assert len(sample) == STATES
    sizes = {len(each.portfolio.positions) for each in sample}
    assert {0, 1, 2, 3, 127, 128} <= sizes
    assert max(len(each.portfolio.spots) for each in sample) == 128
    positions = [each for state in sample for each in state.portfolio.positions]
    unsigned = {"kind": 8, "expiry": 64, "strike": 128, "vol": 128}
    for name, bits in unsigned.items():
        assert {0, 2**bits - 1} <= {getattr(each, name) for each in positions}
    for name in ("quantity", "carry"):
        assert {-(2**127), 2**127 - 1} <= {getattr(each, name) for each in positions}
    nets = {each.portfolio.net_to_b for each in sample}
    assert {-(2**127), 2**127 - 1, 0} <= nets
    for name in ("nonce", "valid_until"):
        assert {0, 2**64 - 1} <= {getattr(each, name) for each in sample}


MAKERS: dict[str, Callable[[Values], Signed]] = {
    "Opening": Values.opening,
    "Withdrawal": Values.withdrawal,
    "Closing": Values.closing,
    "DisputeAuthorisation": Values.authorisation,
}


@pytest.mark.parametrize("name", MAKERS)
def test_other_types_hash_as_eth_account_hashes_them(name: str) -> None:
    values = Values(len(name))
    for _ in range(OTHERS):
        value, domain = MAKERS[name](values), values.domain()
        assert domain.digest(value) == typed_digest(value, domain)


def test_risk_params_hash_as_eth_account_hashes_them() -> None:
    values = Values(5)
    for _ in range(OTHERS):
        value, domain = values.risk(), values.domain()
        ours = keccak(b"\x19\x01" + domain.separator + value.struct_hash)
        assert ours == typed_digest(value, domain)


# ---- the contract


HARNESS = {"HashingHarness": "contracts/test/utils/HashingHarness.sol"}


@pytest.fixture(scope="session")
def harness_code() -> bytes:
    if not build_artifacts.FORGE.exists():
        pytest.skip("no node_modules/.bin/forge: `npm ci` brings it")
    built = build_artifacts.compile_contracts(HARNESS)["HashingHarness"]
    return bytes.fromhex(built["creation"].removeprefix("0x"))


async def answers(
    provider: TrioHTTPProvider, contract: Address, calls: Sequence[bytes]
) -> list[bytes]:
    """Call the harness many times, some hundred calls an exchange."""
    found = []
    for start in range(0, len(calls), 250):
        batch = [
            (
                RPCEndpoint("eth_call"),
                [{"to": "0x" + contract.hex(), "data": "0x" + each.hex()}, "latest"],
            )
            for each in calls[start : start + 250]
        ]
        with trio.fail_after(30):
            for response in await provider.make_batch_request(batch):
                assert "result" in response, response
                found.append(bytes.fromhex(str(response["result"])[2:]))
    return found


def _dynamic(signature: str, body: bytes) -> bytes:
    return selector(signature) + encode_arguments((0,), {0: body})


def _withdrawal_body(value: Withdrawal) -> bytes:
    return encode_arguments((0, value.amount_a, value.amount_b), {0: encode_state(value.state)})


@pytest.mark.anvil
async def test_the_contract_hashes_the_same(anvil_url: str, harness_code: bytes) -> None:
    async with open_provider(anvil_url, request_timeout=30) as provider:
        rpc = Rpc(provider)
        account = LocalAccount(random.Random(1).randbytes(32))
        funded = ["0x" + account.address.hex(), hex(10**20)]
        await rpc.request("anvil_setBalance", *funded)
        receipt = await send_now(rpc, account, Intent(name="h", to=None, data=harness_code))
        harness = receipt.contract_address
        assert harness is not None

        sample = [state for chunk in range(CHUNKS) for state in states(chunk)]
        calls = [_dynamic("hashState(State)", encode_state(each)) for each in sample]
        assert await answers(provider, harness, calls) == [each.struct_hash for each in sample]

        values = Values(77)
        portfolios = [values.portfolio() for _ in range(OTHERS)]
        calls = [_dynamic("hashPortfolio(Portfolio)", encode_portfolio(p)) for p in portfolios]
        assert await answers(provider, harness, calls) == [p.struct_hash for p in portfolios]

        openings = [values.opening() for _ in range(OTHERS)]
        head = selector("hashOpening((Terms,uint128,uint128,uint64))")
        calls = [
            head
            + terms_words(each.terms)
            + encode_words(each.deposit_a, each.deposit_b, each.valid_until)
            for each in openings
        ]
        assert await answers(provider, harness, calls) == [o.struct_hash for o in openings]
        calls = [selector("hashTerms(Terms)") + terms_words(each.terms) for each in openings]
        assert await answers(provider, harness, calls) == [o.terms.struct_hash for o in openings]
        domain = values.domain()
        head = selector("channelId(uint256,address,Terms)") + encode_words(
            domain.chain_id, domain.adjudicator
        )
        calls = [head + terms_words(each.terms) for each in openings]
        ids = [channel_id(domain, each.terms) for each in openings]
        assert await answers(provider, harness, calls) == ids

        withdrawals = [values.withdrawal() for _ in range(OTHERS)]
        calls = [
            _dynamic("hashWithdrawal((State,uint128,uint128))", _withdrawal_body(each))
            for each in withdrawals
        ]
        assert await answers(provider, harness, calls) == [w.struct_hash for w in withdrawals]

        closings = [values.closing() for _ in range(OTHERS)]
        calls = [selector("hashClosing(Closing)") + closing_words(each) for each in closings]
        assert await answers(provider, harness, calls) == [c.struct_hash for c in closings]

        granted = [values.authorisation() for _ in range(OTHERS)]
        head = selector("hashDisputeAuthorisation((bytes32,address,uint64,uint64))")
        calls = [
            head + encode_words(g.channel_id, g.delegate, g.min_nonce, g.valid_until)
            for g in granted
        ]
        assert await answers(provider, harness, calls) == [g.struct_hash for g in granted]

        separator = values.bytes(32)
        head = selector("digest(bytes32,bytes32)") + separator
        calls = [head + each.struct_hash for each in closings]
        digests = [keccak(b"\x19\x01" + separator + each.struct_hash) for each in closings]
        assert await answers(provider, harness, calls) == digests
