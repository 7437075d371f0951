// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Adjudicator} from "../../src/Adjudicator.sol";
import {RiskEngine} from "../../src/RiskEngine.sol";
import {IAdjudicator} from "../../src/interfaces/IAdjudicator.sol";
import {Status} from "../../src/interfaces/IOracle.sol";
import {Errors} from "../../src/libraries/Errors.sol";
import {
    ChannelView,
    Closing,
    DisputeAuthorisation,
    Opening,
    Party,
    Permit,
    Phase,
    Portfolio,
    Position,
    Signature,
    SignedState,
    Spot,
    State,
    Terms,
    Withdrawal
} from "../../src/libraries/Types.sol";
import {RiskParams, Scenario} from "../../src/risk/RiskTypes.sol";
import {TestToken} from "../../src/testing/TestToken.sol";
import {defaultRisk} from "./DefaultRisk.sol";
import {FakeOracle} from "./FakeOracle.sol";
import {HashingHarness} from "./HashingHarness.sol";
import {Test} from "./Test.sol";

/// @notice Two parties, their signers, a token, an oracle, an Adjudicator, and the verbs of a channel's life.
abstract contract ChannelTest is Test {
    uint256 internal constant PARTY_A_KEY = 0xA11CE;
    uint256 internal constant PARTY_B_KEY = 0xB0B;
    uint256 internal constant SIGNER_A_KEY = 0x51611;
    uint256 internal constant SIGNER_B_KEY = 0x51612;

    // Tuples, to tell the two overloads of `dispute` apart.
    string private constant TERMS =
        "(address,address,address,address,address,uint128,address,uint32,uint32,uint32,uint32,uint32,uint32,uint16,uint128,uint16,bytes32,bytes32)";
    string private constant STATE =
        "(bytes32,uint64,uint64,(int128,uint128,uint128,uint64,(bytes32,uint128)[],(bytes32,uint8,uint64,uint128,int128,uint128,int128)[]))";
    string private constant RISK_PARAMS =
        "RiskParams(bytes32 feed,uint64 priceRange,uint64 volUp,uint64 volDown,uint64 lookAhead,uint64 calendar,uint64 strike,uint64 carryBase,uint64 carrySlope,uint64 shortMinimum,uint64 imFactor,uint64 shiftBase,uint64 shiftPerRootHour,uint64 runOffFactor)";
    bytes4 internal constant DISPUTE = bytes4(keccak256(bytes(string.concat("dispute(", TERMS, ")"))));
    bytes4 internal constant DISPUTE_STATE =
        bytes4(keccak256(bytes(string.concat("dispute(", TERMS, ",", STATE, ",(bytes32,bytes32),(bytes32,bytes32))"))));

    /// Where the Adjudicator's mapping of channels lies.
    uint256 internal constant CHANNELS_SLOT = 2;

    bytes32 internal constant ETH = keccak256("ETH-USDC");
    bytes32 internal constant BTC = keccak256("BTC-USDC");
    uint256 internal constant START = 1_774_000_000;
    uint64 internal constant EXPIRY = 1_774_598_400; // 27 March 2026, 08:00 UTC
    uint128 internal constant UNIT = 1e6;
    uint128 internal constant DEPOSIT = 100_000e6;

    address internal partyA = vm.addr(PARTY_A_KEY);
    address internal partyB = vm.addr(PARTY_B_KEY);
    address internal signerA = vm.addr(SIGNER_A_KEY);
    address internal signerB = vm.addr(SIGNER_B_KEY);
    address internal stranger = address(0x57a4);
    address internal tower = address(0x70e4);

    RiskEngine internal riskEngine;
    Adjudicator internal adjudicator;
    TestToken internal token;
    FakeOracle internal oracle;
    HashingHarness internal harness;

    function setUp() public virtual {
        vm.warp(START);
        riskEngine = new RiskEngine();
        adjudicator = new Adjudicator(riskEngine);
        token = new TestToken("Test Dollar", "TUSD", 6);
        oracle = new FakeOracle();
        harness = new HashingHarness();
        fund(partyA);
        fund(partyB);
        fund(stranger);
    }

    function fund(address account) internal {
        token.mint(account, 1_000_000e6);
        vm.prank(account);
        token.approve(address(adjudicator), type(uint256).max);
    }

    // ---- values

    function defaultTerms() internal view returns (Terms memory terms) {
        terms.partyA = partyA;
        terms.partyB = partyB;
        terms.signerA = signerA;
        terms.signerB = signerB;
        terms.collateral = address(token);
        terms.unit = UNIT;
        terms.oracle = address(oracle);
        terms.disputeWindow = 1 days;
        terms.cureWindow = 1 days;
        terms.settlementGrace = 5 days;
        terms.maxPriceAge = 3_900;
        terms.maxMarkAge = 2 days;
        terms.maxTenor = 400 days;
        terms.maxInFlight = 16;
        terms.stalePenalty = DEPOSIT / 20;
        terms.defaultPenaltyBps = 500;
        terms.riskHash = riskHashOf(risk());
        terms.salt = keccak256("salt");
    }

    /// @dev The design's default parameters of both feeds, in order; BTC moves less, so that one never passes for the other.
    function risk() internal pure returns (RiskParams[] memory list) {
        list = new RiskParams[](2);
        (uint256 eth, uint256 btc) = ETH < BTC ? (0, 1) : (1, 0);
        list[eth] = defaultRisk(ETH);
        list[btc] = defaultRisk(BTC);
        list[btc].priceRange = 0.15e18;
    }

    /// @dev EIP-712 hash of the array, from the type's string.
    function riskHashOf(RiskParams[] memory list) internal pure returns (bytes32) {
        bytes memory hashes;
        for (uint256 i; i < list.length; ++i) {
            hashes = bytes.concat(hashes, keccak256(abi.encode(keccak256(bytes(RISK_PARAMS)), list[i])));
        }
        return keccak256(hashes);
    }

    function emptyPortfolio(int128 netToB) internal pure returns (Portfolio memory portfolio) {
        portfolio.netToB = netToB;
    }

    function option(uint8 kind, uint64 expiry, uint128 strike, int128 quantity)
        internal
        pure
        returns (Position memory position)
    {
        position = Position(ETH, kind, expiry, strike, quantity, 0.65e18, 0.04e18);
    }

    /// @dev One call at 3,000, ten of them, A long; signed spot 3,100.
    function onePosition() internal pure returns (Portfolio memory portfolio) {
        portfolio.markedAt = uint64(START);
        portfolio.spots = new Spot[](1);
        portfolio.spots[0] = Spot(ETH, 3_100e18);
        portfolio.positions = new Position[](1);
        portfolio.positions[0] = option(0, EXPIRY, 3_000e18, 10e18);
    }

    function stateOf(Terms memory terms, uint64 nonce, uint64 validUntil, Portfolio memory portfolio)
        internal
        view
        returns (State memory)
    {
        return State(adjudicator.channelId(terms), nonce, validUntil, portfolio);
    }

    // ---- signatures

    function digestOf(bytes32 structHash) internal view returns (bytes32) {
        return harness.digest(adjudicator.domainSeparator(), structHash);
    }

    function compact(uint256 key, bytes32 structHash) internal view returns (Signature memory) {
        (bytes32 r, bytes32 vs) = vm.signCompact(key, digestOf(structHash));
        return Signature(r, vs);
    }

    function both(bytes32 structHash) internal view returns (Signature memory, Signature memory) {
        return (compact(SIGNER_A_KEY, structHash), compact(SIGNER_B_KEY, structHash));
    }

    /// @dev A party's 65-byte signature, as a wallet gives it.
    function long(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digestOf(structHash));
        return abi.encodePacked(r, s, v);
    }

    function short(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        Signature memory signature = compact(key, structHash);
        return abi.encodePacked(signature.r, signature.vs);
    }

    // ---- transactions, as calldata

    function openingUntil() internal view returns (uint64) {
        return uint64(block.timestamp) + 600;
    }

    function openData(Terms memory terms, uint128 depositA, uint128 depositB) internal view returns (bytes memory) {
        bytes32 structHash = harness.hashOpening(Opening(terms, depositA, depositB, openingUntil()));
        return openData(
            terms, depositA, depositB, openingUntil(), long(PARTY_A_KEY, structHash), long(PARTY_B_KEY, structHash)
        );
    }

    function openData(
        Terms memory terms,
        uint128 depositA,
        uint128 depositB,
        uint64 validUntil,
        bytes memory signatureA,
        bytes memory signatureB
    ) internal pure returns (bytes memory) {
        return abi.encodeCall(IAdjudicator.open, (terms, depositA, depositB, validUntil, signatureA, signatureB));
    }

    function openWithPermitData(
        Terms memory terms,
        uint128 depositA,
        uint128 depositB,
        Permit memory permitA,
        Permit memory permitB
    ) internal view returns (bytes memory) {
        bytes32 structHash = harness.hashOpening(Opening(terms, depositA, depositB, openingUntil()));
        return abi.encodeCall(
            IAdjudicator.openWithPermit,
            (
                terms,
                depositA,
                depositB,
                openingUntil(),
                long(PARTY_A_KEY, structHash),
                long(PARTY_B_KEY, structHash),
                permitA,
                permitB
            )
        );
    }

    /// @dev Good for ten minutes, for the owner's next permit of the test token.
    function permitOf(uint256 key, uint256 value) internal view returns (Permit memory permit) {
        (permit.value, permit.deadline) = (value, block.timestamp + 600);
        address owner = vm.addr(key);
        bytes32 typeHash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 structHash =
            keccak256(abi.encode(typeHash, owner, address(adjudicator), value, token.nonces(owner), permit.deadline));
        (permit.v, permit.r, permit.s) = vm.sign(key, harness.digest(token.DOMAIN_SEPARATOR(), structHash));
    }

    function depositData(Terms memory terms, Party party, uint128 amount) internal pure returns (bytes memory) {
        return abi.encodeCall(IAdjudicator.deposit, (terms, party, amount));
    }

    function checkpointData(Terms memory terms, uint64 nonce, Portfolio memory portfolio)
        internal
        view
        returns (bytes memory)
    {
        return checkpointData(terms, stateOf(terms, nonce, 0, portfolio));
    }

    function checkpointData(Terms memory terms, State memory state) internal view returns (bytes memory) {
        (Signature memory a, Signature memory b) = both(harness.hashState(state));
        return checkpointData(terms, state, a, b);
    }

    function checkpointData(Terms memory terms, State memory state, Signature memory a, Signature memory b)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            IAdjudicator.checkpoint,
            (
                terms.signerA,
                terms.signerB,
                harness.hashTerms(terms),
                state.nonce,
                state.validUntil,
                harness.hashPortfolio(state.portfolio),
                a.r,
                a.vs,
                b.r,
                b.vs
            )
        );
    }

    function signedState(Terms memory terms, State memory state) internal view returns (SignedState memory) {
        (Signature memory a, Signature memory b) = both(harness.hashState(state));
        return SignedState({
            signerA: terms.signerA,
            signerB: terms.signerB,
            termsHash: harness.hashTerms(terms),
            nonce: state.nonce,
            validUntil: state.validUntil,
            portfolioHash: harness.hashPortfolio(state.portfolio),
            signatureA: a,
            signatureB: b
        });
    }

    function checkpointManyData(SignedState[] memory states) internal pure returns (bytes memory) {
        return abi.encodeCall(IAdjudicator.checkpointMany, (states));
    }

    function withdrawalOf(Terms memory terms, uint64 nonce, Portfolio memory portfolio, uint128 a, uint128 b)
        internal
        view
        returns (Withdrawal memory)
    {
        return Withdrawal(stateOf(terms, nonce, uint64(block.timestamp) + 600, portfolio), a, b);
    }

    function withdrawData(Terms memory terms, Withdrawal memory withdrawal) internal view returns (bytes memory) {
        (Signature memory a, Signature memory b) = both(harness.hashWithdrawal(withdrawal));
        return withdrawData(terms, withdrawal, a, b);
    }

    function withdrawData(Terms memory terms, Withdrawal memory withdrawal, Signature memory a, Signature memory b)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodeCall(IAdjudicator.withdraw, (terms, withdrawal, a, b));
    }

    /// @dev For the tower, from `minNonce` on, for an hour.
    function authorisationOf(Terms memory terms, uint64 minNonce) internal view returns (DisputeAuthorisation memory) {
        return
            DisputeAuthorisation(
                adjudicator.channelId(terms), tower, minNonce, uint64(block.timestamp) + uint64(1 hours)
            );
    }

    /// @param key who signs the authorisation.
    function disputeForData(
        Terms memory terms,
        State memory state,
        DisputeAuthorisation memory authorisation,
        uint256 key
    ) internal view returns (bytes memory) {
        (Signature memory a, Signature memory b) = both(harness.hashState(state));
        Signature memory signature = compact(key, harness.hashDisputeAuthorisation(authorisation));
        return abi.encodeCall(IAdjudicator.disputeFor, (terms, state, a, b, authorisation, signature));
    }

    function disputeData(Terms memory terms) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(DISPUTE, terms);
    }

    function disputeData(Terms memory terms, State memory state) internal view returns (bytes memory) {
        (Signature memory a, Signature memory b) = both(harness.hashState(state));
        return disputeData(terms, state, a, b);
    }

    function disputeData(Terms memory terms, State memory state, Signature memory a, Signature memory b)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(DISPUTE_STATE, terms, state, a, b);
    }

    /// @dev With no scenario, which asks for the whole margin.
    function callMarginData(Terms memory terms, Portfolio memory portfolio, Party party)
        internal
        pure
        returns (bytes memory)
    {
        return callMarginData(terms, portfolio, party, new Scenario[](0));
    }

    function callMarginData(Terms memory terms, Portfolio memory portfolio, Party party, Scenario[] memory scenarios)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodeCall(IAdjudicator.callMargin, (terms, risk(), portfolio, party, scenarios));
    }

    function closeOutData(Terms memory terms, Portfolio memory portfolio, Party party)
        internal
        pure
        returns (bytes memory)
    {
        return closeOutData(terms, portfolio, party, new Scenario[](0));
    }

    function closeOutData(Terms memory terms, Portfolio memory portfolio, Party party, Scenario[] memory scenarios)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodeCall(IAdjudicator.closeOut, (terms, risk(), portfolio, party, scenarios));
    }

    function releaseData(Terms memory terms, Portfolio memory portfolio) internal pure returns (bytes memory) {
        return abi.encodeCall(IAdjudicator.release, (terms, risk(), portfolio));
    }

    function settleData(Terms memory terms, Portfolio memory portfolio) internal pure returns (bytes memory) {
        return abi.encodeCall(IAdjudicator.settle, (terms, portfolio));
    }

    function closingOf(Terms memory terms, uint64 nonce, int128 netToB) internal view returns (Closing memory) {
        return Closing(adjudicator.channelId(terms), nonce, uint64(block.timestamp) + 600, netToB);
    }

    function closeData(Terms memory terms, uint64 nonce, int128 netToB) internal view returns (bytes memory) {
        return closeData(terms, closingOf(terms, nonce, netToB));
    }

    function closeData(Terms memory terms, Closing memory closing) internal view returns (bytes memory) {
        (Signature memory a, Signature memory b) = both(harness.hashClosing(closing));
        return abi.encodeCall(IAdjudicator.close, (terms, closing, a, b));
    }

    function abandonData(Terms memory terms) internal pure returns (bytes memory) {
        return abi.encodeCall(IAdjudicator.abandon, (terms));
    }

    function claimData(address to) internal view returns (bytes memory) {
        return abi.encodeCall(IAdjudicator.claim, (address(token), to));
    }

    /// @dev Sends it and hands any revert on.
    function send(address sender, bytes memory data) internal returns (bytes memory result) {
        bool success;
        vm.prank(sender);
        (success, result) = address(adjudicator).call(data);
        if (!success) {
            assembly {
                revert(add(result, 32), mload(result))
            }
        }
    }

    /// @dev Sends it and requires that it reverts with exactly this.
    function fails(address sender, bytes memory data, bytes memory why) internal {
        vm.prank(sender);
        (bool success, bytes memory result) = address(adjudicator).call(data);
        vm.assertFalse(success);
        vm.assertEq(string(result), string(why));
    }

    function fails(bytes memory data, bytes memory why) internal {
        fails(stranger, data, why);
    }

    function wrongPhase(Phase phase) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(Errors.WrongPhase.selector, phase);
    }

    // ---- verbs

    function open() internal returns (Terms memory terms, bytes32 id) {
        terms = defaultTerms();
        id = open(terms, DEPOSIT, DEPOSIT);
    }

    function open(Terms memory terms, uint128 depositA, uint128 depositB) internal returns (bytes32 id) {
        return abi.decode(send(stranger, openData(terms, depositA, depositB)), (bytes32));
    }

    function checkpoint(Terms memory terms, State memory state) internal returns (bool) {
        return abi.decode(send(stranger, checkpointData(terms, state)), (bool));
    }

    function checkpoint(Terms memory terms, uint64 nonce, Portfolio memory portfolio) internal returns (bool) {
        return checkpoint(terms, stateOf(terms, nonce, 0, portfolio));
    }

    /// @dev Records `portfolio` and pays, in one boxed withdrawal.
    function withdraw(Terms memory terms, uint64 nonce, Portfolio memory portfolio, uint128 a, uint128 b) internal {
        send(stranger, withdrawData(terms, withdrawalOf(terms, nonce, portfolio, a, b)));
    }

    function dispute(address caller, Terms memory terms, State memory state) internal returns (bool) {
        return abi.decode(send(caller, disputeData(terms, state)), (bool));
    }

    function dispute(address caller, Terms memory terms, uint64 nonce, Portfolio memory portfolio)
        internal
        returns (bool)
    {
        return dispute(caller, terms, stateOf(terms, nonce, 0, portfolio));
    }

    function dispute(address caller, Terms memory terms) internal {
        send(caller, disputeData(terms));
    }

    function callMargin(Terms memory terms, Portfolio memory portfolio, Party party) internal returns (uint32) {
        return abi.decode(send(stranger, callMarginData(terms, portfolio, party)), (uint32));
    }

    function closeOut(Terms memory terms, Portfolio memory portfolio, Party party) internal {
        send(stranger, closeOutData(terms, portfolio, party));
    }

    function release(address caller, Terms memory terms, Portfolio memory portfolio) internal returns (uint256) {
        return abi.decode(send(caller, releaseData(terms, portfolio)), (uint256));
    }

    function settle(Terms memory terms, Portfolio memory portfolio) internal returns (uint256) {
        return abi.decode(send(stranger, settleData(terms, portfolio)), (uint256));
    }

    function close(Terms memory terms, uint64 nonce, int128 netToB) internal {
        send(stranger, closeData(terms, nonce, netToB));
    }

    /// @dev The first second at which `abandon` may run.
    function abandonableFrom(Terms memory terms, bytes32 id) internal view returns (uint256) {
        return uint256(adjudicator.channel(id).deadline) + terms.maxTenor + terms.settlementGrace + 180 days;
    }

    function passDeadline(bytes32 id) internal {
        vm.warp(adjudicator.channel(id).deadline);
    }

    /// @dev Opens, disputes on `portfolio` at nonce 1 by A, and lets the window pass.
    function runOff(Portfolio memory portfolio) internal returns (Terms memory terms, bytes32 id) {
        (terms, id) = open();
        dispute(partyA, terms, 1, portfolio);
        passDeadline(id);
    }

    /// @dev Writes a cure's end into slot 0, as `callMargin` does of a party that is short.
    function setCureEnd(bytes32 id, Party party, uint256 cureEnd) internal {
        bytes32 slot = keccak256(abi.encode(id, CHANNELS_SLOT));
        uint256 word = uint256(vm.load(address(adjudicator), slot));
        uint256 shift = party == Party.A ? 64 : 96;
        word = (word & ~(uint256(type(uint32).max) << shift)) | cureEnd << shift;
        vm.store(address(adjudicator), slot, bytes32(word));
        ChannelView memory view_ = adjudicator.channel(id);
        vm.assertEq(party == Party.A ? view_.cureEndA : view_.cureEndB, cureEnd);
    }

    /// @dev A spot of this very second.
    function setSpot(bytes32 feed, uint256 price) internal {
        oracle.setSpotNow(feed, price);
    }

    function setKnown(bytes32 feed, uint64 time, uint256 price) internal {
        oracle.set(feed, time, Status.Known, price);
    }

    // ---- what came of it

    function gainOf(address account) internal view returns (int256) {
        return int256(token.balanceOf(account)) - 1_000_000e6;
    }

    function assertPhase(bytes32 id, Phase expected) internal view {
        vm.assertEq(uint256(adjudicator.phaseNow(id)), uint256(expected));
    }

    /// @dev Closed for good, slots cleared, all collateral gone to the two parties with these gains.
    function assertClosed(bytes32 id, int256 gainA, int256 gainB) internal view {
        ChannelView memory end = adjudicator.channel(id);
        vm.assertEq(uint256(end.phase), uint256(Phase.Closed));
        ChannelView memory cleared;
        cleared.phase = Phase.Closed;
        vm.assertEq(keccak256(abi.encode(end)), keccak256(abi.encode(cleared)));
        vm.assertEq(gainOf(partyA), gainA, "gain of A");
        vm.assertEq(gainOf(partyB), gainB, "gain of B");
    }
}
