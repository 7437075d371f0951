// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Adjudicator} from "../../src/Adjudicator.sol";
import {Hashing} from "../../src/libraries/Hashing.sol";
import {Portfolio, Position, Spot, Terms} from "../../src/libraries/Types.sol";
import {IRiskEngine} from "../../src/risk/IRiskEngine.sol";
import {Test} from "../utils/Test.sol";
import {AnyAnswer, AnyToken, svm} from "./Any.sol";

/// @notice One call of the Adjudicator out of any valid state, for halmos. What holds after every such call holds for
/// ever: a proof by induction over calls, not a test of chosen ones.
///
/// The compiled Adjudicator itself runs. Symbolic, that is everything at once: its storage, the time, the sender, the
/// terms and all other arguments, what token, oracle and RiskEngine answer, whom a signature recovers to. Assumed: what
/// `valid` says of the channel's three words (each call is shown to keep it so), that keccak256 has no collisions, and
/// of the terms what `acceptable` says. Bounded: the lengths of arrays, and whatever else a proof's `bound` says.
abstract contract Proof is Test {
    /// Where the Adjudicator's mappings lie.
    uint256 private constant CLAIMABLE_SLOT = 1;
    uint256 private constant CHANNELS_SLOT = 2;

    uint256 internal constant NONE = 0;
    uint256 internal constant OPEN = 1;
    uint256 internal constant DISPUTED = 2;
    uint256 internal constant RUN_OFF = 3;
    uint256 internal constant CLOSED = 4;

    uint256 private constant MAX_POT = 2 ** 119 - 1;

    Adjudicator internal adjudicator;
    AnyToken internal token;
    AnyAnswer internal oracle;

    /// @notice The three words of a channel.
    struct Words {
        uint256 slot;
        bytes32 portfolioHash;
        uint256 contributions;
    }

    /// @notice A portfolio without its arrays.
    struct Marks {
        int128 netToB;
        uint128 marginA;
        uint128 marginB;
        uint64 markedAt;
    }

    function setUp() public {
        token = new AnyToken();
        oracle = new AnyAnswer();
        adjudicator = new Adjudicator(IRiskEngine(address(new AnyAnswer())));
        svm.enableSymbolicStorage(address(adjudicator));
        svm.enableSymbolicStorage(address(token));
    }

    // ---- values

    /// @dev These terms with our token and oracle, as some `open` may have accepted them.
    function openable(Terms memory terms) internal view returns (Terms memory) {
        (terms.collateral, terms.oracle) = (address(token), address(oracle));
        vm.assume(acceptable(terms) == 1);
        return terms;
    }

    /// @dev What of the terms' bounds the proofs rest on. `check_open` shows that no other terms open a channel.
    function acceptable(Terms memory terms) internal pure returns (uint256) {
        (address a, address b, address signerA, address signerB) =
            (terms.partyA, terms.partyB, terms.signerA, terms.signerB);
        return yes(a != address(0)) & yes(b != address(0)) & yes(signerA != address(0)) & yes(signerB != address(0))
            & yes(a != b) & yes(signerA != signerB) & yes(a != signerB) & yes(b != signerA)
            & yes(terms.disputeWindow != 0);
    }

    function portfolioOf(Marks memory marks) internal pure returns (Portfolio memory portfolio) {
        portfolio.netToB = marks.netToB;
        portfolio.marginA = marks.marginA;
        portfolio.marginB = marks.marginB;
        portfolio.markedAt = marks.markedAt;
    }

    function portfolioOf(Marks memory marks, Spot memory spot, Position memory position)
        internal
        pure
        returns (Portfolio memory portfolio)
    {
        portfolio = portfolioOf(marks);
        portfolio.spots = new Spot[](1);
        portfolio.spots[0] = spot;
        portfolio.positions = new Position[](1);
        portfolio.positions[0] = position;
    }

    function portfolioOf(Marks memory marks, Spot memory spot, Position memory first, Position memory second)
        internal
        pure
        returns (Portfolio memory portfolio)
    {
        portfolio = portfolioOf(marks, spot, first);
        portfolio.positions = new Position[](2);
        (portfolio.positions[0], portfolio.positions[1]) = (first, second);
    }

    // ---- storage

    function wordsOf(bytes32 id) internal view returns (Words memory words) {
        uint256 place = uint256(keccak256(abi.encode(id, CHANNELS_SLOT)));
        words.slot = uint256(vm.load(address(adjudicator), bytes32(place)));
        words.portfolioHash = vm.load(address(adjudicator), bytes32(place + 1));
        words.contributions = uint256(vm.load(address(adjudicator), bytes32(place + 2)));
    }

    function claimOf(address token_, address payee) internal view returns (uint256) {
        bytes32 place = keccak256(abi.encode(payee, entry(token_, CLAIMABLE_SLOT)));
        return uint256(vm.load(address(adjudicator), place));
    }

    function entry(address key, uint256 slot) internal pure returns (bytes32) {
        return keccak256(abi.encode(key, slot));
    }

    function same(Words memory left, Words memory right) internal pure returns (bool) {
        return (left.slot ^ right.slot) | (left.contributions ^ right.contributions)
                | uint256(left.portfolioHash ^ right.portfolioHash) == 0;
    }

    function phaseOf(Words memory words) internal pure returns (uint256) {
        return uint8(words.slot);
    }

    function filerOf(Words memory words) internal pure returns (uint256) {
        return uint8(words.slot >> 8);
    }

    function deadlineOf(Words memory words) internal pure returns (uint256) {
        return uint32(words.slot >> 32);
    }

    function nonceOf(Words memory words) internal pure returns (uint256) {
        return uint64(words.slot >> 128);
    }

    function filedNonceOf(Words memory words) internal pure returns (uint256) {
        return words.slot >> 192;
    }

    function potOf(Words memory words) internal pure returns (int256) {
        return int256(int128(uint128(words.contributions))) + int128(uint128(words.contributions >> 128));
    }

    /// @notice Whether the three words may be those of a channel.
    /// @dev Without a branch: a proof would be split at each.
    function valid(Words memory words) internal pure returns (bool) {
        (uint256 phase, uint256 filer) = (phaseOf(words), filerOf(words));
        uint256 nothing = yes(words.contributions | uint256(words.portfolioHash) == 0);
        uint256 ended = (yes(words.slot == NONE) | yes(words.slot == CLOSED)) & nothing;
        // Of an Open channel nothing but the nonce is set.
        uint256 open = yes(words.slot & ~(uint256(type(uint64).max) << 128) == OPEN);
        uint256 disputed = (yes(phase == DISPUTED) | yes(phase == RUN_OFF)) & (yes(filer == 1) | yes(filer == 2))
            & yes(filedNonceOf(words) <= nonceOf(words)) & yes(deadlineOf(words) != 0)
            & yes(uint16(words.slot >> 16) < 8);
        int256 pot = potOf(words);
        uint256 funded = yes(pot >= 0) & yes(pot <= int256(MAX_POT));
        uint256 unsigned = yes(nonceOf(words) != 0) | yes(words.portfolioHash == 0);
        return ended | ((open | disputed) & funded & unsigned) == 1;
    }

    function yes(bool condition) internal pure returns (uint256 one) {
        assembly ("memory-safe") {
            one := condition
        }
    }

    // ---- calls

    /// @dev Any sender sends it at any time.
    function send(bytes memory data) internal returns (bool success, bytes memory result) {
        vm.prank(svm.createAddress("sender"));
        return address(adjudicator).call(data);
    }

    function idOf(Terms memory terms) internal view returns (bytes32) {
        return idOf(terms.signerA, terms.signerB, hashOf(terms));
    }

    function idOf(address signerA, address signerB, bytes32 termsHash) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(adjudicator), signerA, signerB, termsHash));
    }

    function hashOf(Terms memory terms) internal pure returns (bytes32) {
        return keccak256(abi.encode(Hashing.TERMS_TYPEHASH, terms));
    }

    function anyTime() internal {
        vm.warp(uint64(svm.createUint256("time")));
    }
}
