"""Deployment and verification on the embedded chain and on Anvil."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from trio.testing import MockClock
from web3.types import RPCResponse

from channels.chain import Deployment, EmbeddedChain, LocalAccount, load_deployment
from channels.chain.artifacts import load_artifact
from channels.chain.create2 import PROXY, PROXY_CODE, PROXY_COST, PROXY_SENDER, PROXY_TRANSACTION
from channels.chain.deploy import Step, carry_out, deploy, survey
from channels.chain.deployments import DeployedContract, save_deployment
from channels.chain.inspection import verify
from channels.chain.jobs import Intent
from channels.chain.plan import CORE, PlannedContract, core_contracts, token_contract
from channels.chain.rpc import Rpc
from channels.chain.sending import send_now
from channels.errors import (
    CodeDiffersError,
    ContractRevertedError,
    DeploymentProxyError,
    EndpointError,
    InsufficientFundsError,
    InvalidValueError,
    TransactionFailedError,
    WrongChainError,
)
from channels.protocol.eip712 import checksum, keccak
from tests.deploy.world import (
    Interposed,
    Place,
    anvil_place,
    attested,
    dying,
    embedded_place,
    full_plan,
    refusal,
    watched,
)


@pytest.fixture(params=["embedded", pytest.param("anvil", marks=pytest.mark.anvil)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "embedded":
        async with embedded_place() as found:
            yield found
    else:
        async with anvil_place(request.getfixturevalue("fresh_anvil_url")) as found:
            yield found


async def run(place: Place, plan: tuple[PlannedContract, ...], **options: Any) -> Deployment:
    before = options.pop("before", None) or Deployment(chain_id=await place.rpc.chain_id())
    return await carry_out(place.rpc, place.account, plan, before=before, **options)


async def test_a_fresh_deployment_and_a_second_run(place: Place) -> None:
    plan = full_plan()
    steps: list[Step] = []

    async def tell(step: Step) -> None:
        steps.append(step)

    deployment = await run(place, plan, tell=tell)
    assert [each.name for each in deployment.contracts] == [each.name for each in plan]
    for planned, entry in zip(plan, deployment.contracts, strict=True):
        code = await place.rpc.code(entry.address)
        assert load_artifact(planned.contract).is_code(code)
        assert entry.address == planned.address
        assert entry.runtime_hash == keccak(code)
        assert entry.deployer == place.account.address
        assert entry.transaction is not None
        receipt = await place.rpc.receipt(entry.transaction)
        sent = await place.rpc.transaction(entry.transaction)
        assert receipt is not None
        assert receipt.block_number == entry.block
        assert sent is not None
        assert (sent.to, sent.data[:32]) == (PROXY, planned.salt)
        assert keccak(sent.data[32:]) == entry.creation_hash
    assert [each.status for each in steps] == ["sent", "deployed"] * len(plan)
    assert await verify(place.rpc, deployment) == ()
    assert deployment.domain.chain_id == await place.rpc.chain_id()
    assert deployment.domain.adjudicator == deployment.address("Adjudicator")

    second = watched(place.rpc.provider)
    steps.clear()
    again = await run(Place(Rpc(second), place.account), plan, before=deployment, tell=tell)
    assert again == deployment
    assert second.sent == []
    assert {each.status for each in steps} == {"present"}


async def test_what_somebody_else_deployed_is_recognised(place: Place) -> None:
    await run(place, core_contracts())
    second = watched(place.rpc.provider)
    found = await run(Place(Rpc(second), place.account), core_contracts())
    assert second.sent == []
    assert {(each.transaction, each.deployer, each.block) for each in found.contracts} == {
        (None, None, None)
    }
    assert await verify(place.rpc, found) == ()


async def test_costs_are_enough_and_not_much_more(place: Place) -> None:
    plan = full_plan()
    found = await survey(place.rpc, plan, place.account.address)
    limits = {each.name: gas for each, gas in found.missing}
    assert list(limits) == [each.name for each in plan]

    async def tell(step: Step) -> None:
        if step.gas_used is not None:
            limit = limits.pop(step.contract.name)
            assert step.gas_used < limit < step.gas_used * 5 // 4

    before = await place.rpc.balance(place.account.address)
    await run(place, plan, tell=tell, fee_limit=found.max_fee)
    assert not limits
    spent = before - await place.rpc.balance(place.account.address)
    assert 0 < spent < found.cost
    rest = await survey(place.rpc, plan, place.account.address)
    assert (rest.missing, rest.cost) == ((), 0)


async def test_a_survey_sends_nothing(place: Place) -> None:
    provider = watched(place.rpc.provider)
    found = await survey(Rpc(provider), full_plan(), place.account.address)
    assert provider.sent == []
    assert found.cost > 0
    assert await place.rpc.code(found.missing[0][0].address) == b""


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("method", ["eth_sendRawTransaction", "eth_getTransactionReceipt"])
async def test_an_interrupted_run_is_continued(method: str, after: int, tmp_path: Path) -> None:
    """Gone before a transaction leaves, or after it left and before its receipt is seen."""
    path = tmp_path / "record.json"

    async def save(deployment: Deployment) -> None:
        save_deployment(deployment, path)

    async with embedded_place() as place:
        plan = (*core_contracts(), token_contract())
        provider = dying(place.rpc.provider, after=after, method=method)
        with pytest.raises(EndpointError, match="gone"):
            await run(Place(Rpc(provider), place.account), plan, save=save)
        left = len(provider.sent)

        record = load_deployment(path)
        assert not record.contracts[-1].is_done
        with pytest.raises(InvalidValueError, match=r"not deployed yet|only"):
            assert record.token
        rest = watched(place.rpc.provider)
        done = await run(Place(Rpc(rest), place.account), plan, before=record, save=save)
        assert left + len(rest.sent) == len(plan)
        assert load_deployment(path) == done
        assert all(each.transaction and each.block for each in done.contracts)
        assert await verify(place.rpc, done) == ()


async def test_a_transaction_under_way_is_waited_for(autojump_clock: MockClock) -> None:
    """What an earlier run sent is not sent twice: the second would fail and be paid for."""
    async with embedded_place(auto_mine=False) as place:
        chain = place.rpc.provider
        assert isinstance(chain, EmbeddedChain)
        saved: list[Deployment] = []

        async def save(deployment: Deployment) -> None:
            saved.append(deployment)

        with pytest.raises(TransactionFailedError, match="not mined within"):
            await run(place, core_contracts(), save=save)
        with pytest.raises(TransactionFailedError, match="not mined"):
            await run(place, core_contracts(), before=saved[-1])
        assert await place.rpc.nonce(place.account.address, "pending") == 1
        await chain.mine()
        chain.auto_mine = True
        done = await run(place, core_contracts(), before=saved[-1])
        assert done.contracts[0].transaction == saved[0].contracts[0].transaction
        assert await place.rpc.nonce(place.account.address) == len(CORE)


async def test_a_deployment_that_was_reorganised_away_is_mended() -> None:
    async with embedded_place() as place:
        chain = place.rpc.provider
        assert isinstance(chain, EmbeddedChain)
        deployment = await run(place, core_contracts())
        await chain.reorg(2, keep=False)
        found = await verify(place.rpc, deployment)
        assert len([each for each in found if "there is no contract" in each]) == 2
        mended = await run(place, core_contracts(), before=deployment)
        assert mended.contracts[0] == deployment.contracts[0]
        assert await verify(place.rpc, mended) == ()


# ---- what is not ours


@pytest.mark.anvil
@pytest.mark.parametrize("name", ["RiskEngine", "Adjudicator", "attested", "TestToken"])
async def test_tampered_code_is_detected(fresh_anvil_url: str, name: str) -> None:
    async with anvil_place(fresh_anvil_url) as place:
        plan = full_plan()
        deployment = await run(place, plan)
        code = bytearray(await place.rpc.code(deployment.address(name)))
        code[len(code) // 2] ^= 1
        await _set_code(place, deployment.address(name), bytes(code))
        with pytest.raises(CodeDiffersError, match=name):
            await run(place, plan, before=deployment)
        with pytest.raises(CodeDiffersError, match=name):
            await survey(place.rpc, plan, place.account.address)
        found = await verify(place.rpc, deployment)
        assert found
        assert all(each.startswith(name) for each in found)


@pytest.mark.anvil
async def test_tampered_immutables_are_detected(fresh_anvil_url: str) -> None:
    """One place of one immutable, then all of them: the second has only its getter to tell."""
    async with anvil_place(fresh_anvil_url) as place:
        deployment = await run(place, core_contracts())
        adjudicator = deployment.adjudicator
        genuine = await place.rpc.code(adjudicator)
        engine = b"\x00" * 12 + deployment.risk_engine
        assert genuine.count(engine) >= 2
        evil = b"\x00" * 12 + b"\xee" * 20
        for code, message in (
            (genuine.replace(engine, evil, 1), "the code is not Adjudicator's"),
            (genuine.replace(engine, evil), "riskEngine.. is 0xeeee"),
        ):
            await _set_code(place, adjudicator, code)
            with pytest.raises(CodeDiffersError, match=message):
                await run(place, core_contracts(), before=deployment)
        chain_id = (31337).to_bytes(32, "big")
        await _set_code(place, adjudicator, genuine.replace(chain_id, (1).to_bytes(32, "big")))
        with pytest.raises(CodeDiffersError, match=r"deploymentChainId.. is 1, not 31337"):
            await run(place, core_contracts(), before=deployment)


async def _set_code(place: Place, where: bytes, code: bytes) -> None:
    await place.rpc.request("anvil_setCode", "0x" + where.hex(), "0x" + code.hex())


async def test_every_contradiction_of_a_record_is_found() -> None:
    async with embedded_place() as place:
        deployment = await run(place, full_plan())
        oracle = deployment.find("attested")
        token = deployment.find("TestToken")
        assert oracle is not None
        assert token is not None
        other = DeployedContract.of(attested(threshold=3))
        for changed, message in (
            (attrs.evolve(oracle, arguments=other.arguments), "its address follows from nothing"),
            (attrs.evolve(oracle, address=token.address), "its address follows from nothing"),
            (attrs.evolve(oracle, compiler_hash=bytes(32)), "its compiler hash follows"),
            (attrs.evolve(oracle, creation_hash=bytes(32)), "its creation hash follows"),
            (attrs.evolve(oracle, runtime_hash=bytes(32)), "recorded runtime hash"),
            (attrs.evolve(oracle, block=1), "its transaction is in block"),
            (attrs.evolve(oracle, transaction=bytes(32)), "is not on the chain"),
            (attrs.evolve(other, name="attested"), "there is no contract"),
            (attrs.evolve(oracle, contract="Nothing"), "no contract of this package"),
        ):
            found = await verify(place.rpc, deployment.including(changed))
            assert any(message in each for each in found), (message, found)
        older = attrs.evolve(deployment, version="0.0.1")
        assert await verify(place.rpc, older) == ("the record is of version 0.0.1, this is 0.1.0",)
        nothing = attrs.evolve(deployment, contracts=())
        assert await verify(place.rpc, nothing) == ("Adjudicator: not in the record",)


async def test_an_adjudicator_of_another_engine_is_found() -> None:
    """Everything follows from the record, but the Adjudicator asks another engine than it says."""
    async with embedded_place() as place:
        deployment = await run(place, core_contracts())
        other = core_contracts(bytes(32))[0]
        await run(place, (other,))
        stranger = PlannedContract(
            name="Adjudicator",
            contract="Adjudicator",
            arguments={"riskEngine": checksum(other.address)},
        )
        alone = await run(place, (stranger,))
        entry = alone.find("Adjudicator")
        assert entry is not None
        found = await verify(place.rpc, deployment.including(entry))
        assert any("its riskEngine is not the record's RiskEngine" in each for each in found)


# ---- what stops it


async def test_wrong_arguments_are_refused_before_anything_is_sent(place: Place) -> None:
    provider = watched(place.rpc.provider)
    for oracle, reason in (
        (attested(threshold=4), "InvalidThreshold"),
        (attested(grace=1), "InvalidDelays"),
        (attested(attesters=[]), "InvalidAttesters"),
    ):
        plan = (*core_contracts(), oracle)
        with pytest.raises(ContractRevertedError) as caught:
            await survey(Rpc(provider), plan, place.account.address)
        assert caught.value.reason == reason
        with pytest.raises(ContractRevertedError) as caught:
            await run(Place(Rpc(provider), place.account), (oracle,))
        assert caught.value.reason == reason
    assert provider.sent == []


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"token": 1},
        {"attesters": ["0x00"], "threshold": 1, "challengeDelay": 1, "grace": 1},
        {"attesters": "0x00", "threshold": 1, "challengeDelay": 1, "grace": 1},
        {"attesters": [], "threshold": 256, "challengeDelay": 1, "grace": 1},
        {"attesters": [], "threshold": True, "challengeDelay": 1, "grace": 1},
        {"attesters": [], "threshold": -1, "challengeDelay": 1, "grace": 1},
        {"attesters": [], "threshold": "1", "challengeDelay": 1, "grace": 1},
    ],
)
def test_arguments_that_no_constructor_takes(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match="oracle"):
        PlannedContract(name="oracle", contract="AttestedOracle", arguments=arguments)


async def test_no_funds(place: Place) -> None:
    poor = LocalAccount(b"\x77" * 32)
    with pytest.raises(InsufficientFundsError) as caught:
        await run(Place(place.rpc, poor), core_contracts())
    assert caught.value.available == 0
    assert caught.value.needed > 0


async def test_the_wrong_chain(place: Place) -> None:
    with pytest.raises(WrongChainError) as caught:
        await run(place, core_contracts(), before=Deployment(chain_id=1))
    assert (caught.value.expected, caught.value.found) == (1, await place.rpc.chain_id())
    with pytest.raises(WrongChainError):
        await survey(place.rpc, core_contracts(), place.account.address, expected=1)
    with pytest.raises(WrongChainError):
        await verify(place.rpc, Deployment(chain_id=1))


async def test_a_record_of_other_contracts_is_not_overwritten() -> None:
    async with embedded_place() as place:
        deployment = await run(place, (attested(),))
        with pytest.raises(InvalidValueError, match="another attested"):
            await run(place, (attested(threshold=1),), before=deployment)
        both = await run(place, (attested("other", threshold=1),), before=deployment)
        assert [each.name for each in both.contracts] == ["attested", "other"]


# ---- the proxy


async def test_the_proxy_is_created_where_it_is_missing() -> None:
    async with embedded_place(deployment_proxy=False) as place:
        found = await survey(place.rpc, core_contracts(), place.account.address)
        assert not found.has_proxy
        assert found.cost >= PROXY_COST
        deployment = await run(place, core_contracts())
        assert await place.rpc.code(PROXY) == PROXY_CODE
        assert await verify(place.rpc, deployment) == ()


async def test_the_same_addresses_with_and_without_the_proxy_before() -> None:
    found = set()
    for options in ({"chain_id": 5}, {"chain_id": 6, "deployment_proxy": False}):
        async with embedded_place(**options) as place:
            deployment = await run(place, core_contracts())
            found.add(tuple(each.address for each in deployment.contracts))
            assert deployment.chain_id == options["chain_id"]
    assert len(found) == 1


async def test_a_node_that_refuses_unprotected_transactions() -> None:
    """Nothing is spent on a chain where the proxy cannot come to be."""

    def geth(method: str, params: Any) -> RPCResponse | None:
        if method == "eth_sendRawTransaction" and params[0] == "0x" + PROXY_TRANSACTION.hex():
            return refusal("only replay-protected (EIP-155) transactions allowed over RPC")
        return None

    async with embedded_place(deployment_proxy=False) as place:
        provider = Interposed(place.rpc.provider, geth)
        with pytest.raises(DeploymentProxyError, match="before EIP-155") as caught:
            await run(Place(Rpc(provider), place.account), core_contracts())
        assert "--rpc.allow-unprotected-txs" in caught.value.next_step
        assert provider.sent == []


async def test_something_else_in_the_proxys_place() -> None:
    def liar(method: str, params: Any) -> RPCResponse | None:
        if method == "eth_getCode" and params[0] == "0x" + PROXY.hex():
            return {"jsonrpc": "2.0", "id": 1, "result": "0x6001"}
        return None

    async with embedded_place() as place:
        rpc = Rpc(Interposed(place.rpc.provider, liar))
        with pytest.raises(DeploymentProxyError, match="other than the deployment proxy"):
            await run(Place(rpc, place.account), core_contracts())
        deployment = await run(place, core_contracts())
        assert any("the deployment proxy" in each for each in await verify(rpc, deployment))


async def test_a_chain_where_the_proxys_sender_was_used_up() -> None:
    def used_up(method: str, params: Any) -> RPCResponse | None:
        if method == "eth_getTransactionCount" and params[0] == "0x" + PROXY_SENDER.hex():
            return {"jsonrpc": "2.0", "id": 1, "result": "0x1"}
        return None

    async with embedded_place(deployment_proxy=False) as place:
        rpc = Rpc(Interposed(place.rpc.provider, used_up))
        with pytest.raises(DeploymentProxyError, match="used up"):
            await run(Place(rpc, place.account), core_contracts())


# ---- for demos and tests


async def test_deployments_for_demos_are_apart() -> None:
    chain = EmbeddedChain()
    one, two = chain.accounts[:2]
    attesters = [one.address]
    first = await deploy(chain, one, attesters=attesters)
    second = await deploy(chain, one, attesters=attesters)
    third = await deploy(chain, two, attesters=attesters)
    assert len({each.adjudicator for each in (first, second, third)}) == 3
    assert len({each.oracle for each in (first, second, third)}) == 3
    for each in (first, second, third):
        assert await verify(Rpc(chain), each) == ()


async def test_a_transaction_that_is_mined_and_fails() -> None:
    async with embedded_place() as place:
        await run(place, (token_contract(),))
        planned = token_contract()
        intent = Intent(
            name="twice", to=PROXY, data=planned.salt + planned.init_code, gas=1_000_000
        )
        with pytest.raises(TransactionFailedError, match="twice was mined and failed"):
            await send_now(place.rpc, place.account, intent)
