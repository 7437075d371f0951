// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Hashing} from "../src/libraries/Hashing.sol";
import {
    Closing,
    DisputeAuthorisation,
    Opening,
    Portfolio,
    Position,
    Spot,
    State,
    Terms,
    Withdrawal
} from "../src/libraries/Types.sol";
import {HashingHarness} from "./utils/HashingHarness.sol";
import {Test} from "./utils/Test.sol";

/// @notice The assembly hashes against the same hashes written out with `abi.encode`, and type hashes against strings.
contract HashingTest is Test {
    string private constant TERMS =
        "Terms(address partyA,address partyB,address signerA,address signerB,address collateral,uint128 unit,address oracle,uint32 disputeWindow,uint32 cureWindow,uint32 settlementGrace,uint32 maxPriceAge,uint32 maxMarkAge,uint32 maxTenor,uint16 maxInFlight,uint128 stalePenalty,uint16 defaultPenaltyBps,bytes32 riskHash,bytes32 salt)";
    string private constant POSITION =
        "Position(bytes32 feed,uint8 kind,uint64 expiry,uint128 strike,int128 quantity,uint128 vol,int128 carry)";
    string private constant SPOT = "Spot(bytes32 feed,uint128 price)";
    string private constant PORTFOLIO =
        "Portfolio(int128 netToB,uint128 marginA,uint128 marginB,uint64 markedAt,Spot[] spots,Position[] positions)";
    string private constant STATE = "State(bytes32 channelId,uint64 nonce,uint64 validUntil,Portfolio portfolio)";

    HashingHarness private harness = new HashingHarness();

    function typeHash(string memory s) private pure returns (bytes32) {
        return keccak256(bytes(s));
    }

    function test_typeHashes() public pure {
        vm.assertEq(Hashing.TERMS_TYPEHASH, typeHash(TERMS));
        vm.assertEq(Hashing.POSITION_TYPEHASH, typeHash(POSITION));
        vm.assertEq(Hashing.SPOT_TYPEHASH, typeHash(SPOT));
        vm.assertEq(Hashing.PORTFOLIO_TYPEHASH, typeHash(string.concat(PORTFOLIO, POSITION, SPOT)));
        vm.assertEq(Hashing.STATE_TYPEHASH, typeHash(string.concat(STATE, PORTFOLIO, POSITION, SPOT)));
        vm.assertEq(
            Hashing.OPENING_TYPEHASH,
            typeHash(string.concat("Opening(Terms terms,uint128 depositA,uint128 depositB,uint64 validUntil)", TERMS))
        );
        vm.assertEq(
            Hashing.WITHDRAWAL_TYPEHASH,
            typeHash(
                string.concat(
                    "Withdrawal(State state,uint128 amountA,uint128 amountB)", PORTFOLIO, POSITION, SPOT, STATE
                )
            )
        );
        vm.assertEq(
            Hashing.CLOSING_TYPEHASH,
            typeHash("Closing(bytes32 channelId,uint64 nonce,uint64 validUntil,int128 netToB)")
        );
        vm.assertEq(
            Hashing.DISPUTE_AUTHORISATION_TYPEHASH,
            typeHash("DisputeAuthorisation(bytes32 channelId,address delegate,uint64 minNonce,uint64 validUntil)")
        );
        vm.assertEq(
            Hashing.DOMAIN_TYPEHASH,
            typeHash("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
        );
    }

    function test_emptyPortfolio() public view {
        Portfolio memory empty;
        vm.assertEq(harness.emptyPortfolioHash(), harness.hashPortfolio(empty));
        vm.assertEq(harness.emptyPortfolioHash(), slow(empty));
    }

    function test_digest_keepsTheFreeMemoryPointer() public view {
        bytes32 separator = harness.domainSeparator("OptionChannels", "1", address(this));
        vm.assertEq(harness.digest(separator, "x"), keccak256(abi.encodePacked(hex"1901", separator, bytes32("x"))));
        vm.assertEq(
            separator,
            keccak256(
                abi.encode(
                    Hashing.DOMAIN_TYPEHASH, keccak256("OptionChannels"), keccak256("1"), block.chainid, address(this)
                )
            )
        );
    }

    function slow(Spot memory spot) private pure returns (bytes32) {
        return keccak256(abi.encode(typeHash(SPOT), spot.feed, spot.price));
    }

    function slow(Position memory p) private pure returns (bytes32) {
        return keccak256(abi.encode(typeHash(POSITION), p.feed, p.kind, p.expiry, p.strike, p.quantity, p.vol, p.carry));
    }

    function slow(Portfolio memory p) private pure returns (bytes32) {
        bytes memory spots;
        for (uint256 i; i < p.spots.length; ++i) {
            spots = bytes.concat(spots, slow(p.spots[i]));
        }
        bytes memory positions;
        for (uint256 i; i < p.positions.length; ++i) {
            positions = bytes.concat(positions, slow(p.positions[i]));
        }
        return keccak256(
            abi.encode(
                typeHash(string.concat(PORTFOLIO, POSITION, SPOT)),
                p.netToB,
                p.marginA,
                p.marginB,
                p.markedAt,
                keccak256(spots),
                keccak256(positions)
            )
        );
    }

    function slow(State memory state) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                typeHash(string.concat(STATE, PORTFOLIO, POSITION, SPOT)),
                state.channelId,
                state.nonce,
                state.validUntil,
                slow(state.portfolio)
            )
        );
    }

    function slow(Terms memory terms) private pure returns (bytes32) {
        // All members are static: the encoding of the struct is that of its members.
        return keccak256(bytes.concat(typeHash(TERMS), abi.encode(terms)));
    }

    function testFuzz_terms(Terms memory terms) public view {
        vm.assertEq(harness.hashTerms(terms), slow(terms));
        vm.assertEq(
            harness.channelId(5, address(7), terms),
            keccak256(abi.encode(5, address(7), terms.signerA, terms.signerB, slow(terms)))
        );
    }

    function testFuzz_state(State memory state) public view {
        vm.assertEq(harness.hashPortfolio(state.portfolio), slow(state.portfolio));
        vm.assertEq(harness.hashState(state), slow(state));
        Withdrawal memory withdrawal = Withdrawal(state, 7, 9);
        vm.assertEq(
            harness.hashWithdrawal(withdrawal), keccak256(abi.encode(Hashing.WITHDRAWAL_TYPEHASH, slow(state), 7, 9))
        );
    }

    function testFuzz_opening(Opening memory o) public view {
        vm.assertEq(
            harness.hashOpening(o),
            keccak256(abi.encode(Hashing.OPENING_TYPEHASH, slow(o.terms), o.depositA, o.depositB, o.validUntil))
        );
    }

    function testFuzz_closing(Closing memory c) public view {
        vm.assertEq(
            harness.hashClosing(c),
            keccak256(abi.encode(Hashing.CLOSING_TYPEHASH, c.channelId, c.nonce, c.validUntil, c.netToB))
        );
    }

    function testFuzz_disputeAuthorisation(DisputeAuthorisation memory d) public view {
        vm.assertEq(
            harness.hashDisputeAuthorisation(d),
            keccak256(
                abi.encode(Hashing.DISPUTE_AUTHORISATION_TYPEHASH, d.channelId, d.delegate, d.minNonce, d.validUntil)
            )
        );
    }
}
