// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAdjudicator} from "../../src/interfaces/IAdjudicator.sol";
import {
    Closing,
    DisputeAuthorisation,
    Party,
    Permit,
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
import {AnyAnswer, WillingToken, svm} from "./Any.sol";
import {Proof} from "./Proof.sol";

/// @dev The two overloads, told apart.
interface IDispute {
    function dispute(Terms calldata terms) external;
}

interface IDisputeWithState {
    function dispute(Terms calldata, State calldata, Signature calldata, Signature calldata) external returns (bool);
}

/// @notice Rules 1 (conservation) and 2 (newest wins), for each call. A name's ending says how many positions the
/// portfolio has; `risk` and `scenarios` are empty, since RiskEngine's answer is anything all the same.
/// @dev Facts are 0 or 1 and joined by bitwise operators, which bind tighter than `==` and make no branch.
contract ProveCalls is Proof {
    struct Books {
        Words words;
        Words elsewhere;
        uint256 held;
        uint256 paid;
        uint256 paidA;
        uint256 paidB;
        uint256 claimA;
        uint256 claimB;
        uint256 claimElsewhere;
    }

    /// @dev A channel, and a claim, that the call is not about.
    bytes32 private _elsewhere;
    address private _otherToken;
    address private _otherPayee;

    uint256 private constant HELD_SLOT = 0;
    uint256 private constant PAID_SLOT = 1;
    uint256 private constant PAID_TO_SLOT = 2;

    function tokenWord(uint256 slot) private view returns (uint256) {
        return tokenWord(bytes32(slot));
    }

    function tokenWord(bytes32 slot) private view returns (uint256) {
        return uint256(vm.load(address(token), slot));
    }

    function books(Terms memory terms, bytes32 id) private view returns (Books memory b) {
        b.words = wordsOf(id);
        b.elsewhere = wordsOf(_elsewhere);
        b.held = tokenWord(HELD_SLOT);
        b.paid = tokenWord(PAID_SLOT);
        b.paidA = tokenWord(entry(terms.partyA, PAID_TO_SLOT));
        b.paidB = tokenWord(entry(terms.partyB, PAID_TO_SLOT));
        b.claimA = claimOf(address(token), terms.partyA);
        b.claimB = claimOf(address(token), terms.partyB);
        b.claimElsewhere = claimOf(_otherToken, _otherPayee);
    }

    function keepsTheRules(Terms memory terms, bytes memory data) private returns (bool success) {
        bytes32 id = idOf(terms);
        _elsewhere = svm.createBytes32("elsewhere");
        _otherToken = svm.createAddress("otherToken");
        _otherPayee = svm.createAddress("otherPayee");
        vm.assume(_elsewhere != id);
        vm.assume(
            (yes(_otherPayee != terms.partyA) & yes(_otherPayee != terms.partyB)) | yes(_otherToken != address(token))
                == 1
        );
        anyTime();
        Books memory before = books(terms, id);
        vm.assume(valid(before.words));

        (success,) = send(data);
        if (!success) return false;

        Books memory afterwards = books(terms, id);
        assert(conserved(before, afterwards) == 1);
        assert(newestWins(before.words, afterwards.words) == 1);
    }

    /// @dev Rule 1.
    function conserved(Books memory before, Books memory afterwards) private pure returns (uint256) {
        unchecked {
            uint256 given = uint256(potOf(before.words) - potOf(afterwards.words));
            uint256 paidA = afterwards.paidA - before.paidA;
            uint256 paidB = afterwards.paidB - before.paidB;
            uint256 toA = paidA + afterwards.claimA - before.claimA;
            uint256 toB = paidB + afterwards.claimB - before.claimB;
            uint256 received = afterwards.held - before.held;
            uint256 pot = uint256(potOf(before.words));
            // What left the channel is what the two parties got, less what came in. No wrapping hides in the sum: each
            // got the pot at most.
            return yes(given == toA + toB - received) & yes(toA <= pot) & yes(toB <= pot)
                // Nobody else got anything.
                & yes(afterwards.paid - before.paid == paidA + paidB)
                // The next call starts from a valid state, too.
                & yes(valid(afterwards.words))
                // Other channels and claims are untouched.
                & yes(same(before.elsewhere, afterwards.elsewhere))
                & yes(before.claimElsewhere == afterwards.claimElsewhere);
        }
    }

    /// @dev Rule 2.
    function newestWins(Words memory before, Words memory afterwards) private view returns (uint256) {
        (uint256 from, uint256 to) = (phaseOf(before), phaseOf(afterwards));
        (uint256 old, uint256 now_) = (nonceOf(before), nonceOf(afterwards));
        uint256 late = yes(from == RUN_OFF) | (yes(from == DISPUTED) & yes(block.timestamp >= deadlineOf(before)));
        // No phase comes back, and no nonce.
        uint256 onwards = yes(to >= from) & yes(now_ >= old);
        // After the deadline nothing newer, and a portfolio changes by settling only; before, by a newer nonce only.
        uint256 untouched = yes(now_ == old) & yes(before.portfolioHash == afterwards.portfolioHash);
        uint256 recorded = (late & yes(now_ == old)) | ((1 ^ late) & (yes(now_ > old) | untouched));
        // What a dispute was filed on, by whom and until when, stays.
        uint256 filed = yes(from < DISPUTED)
            | (yes(deadlineOf(before) == deadlineOf(afterwards))
                & yes(filerOf(before) == filerOf(afterwards))
                & yes(filedNonceOf(before) == filedNonceOf(afterwards)));
        return (yes(to == CLOSED) & yes(from != CLOSED)) | (onwards & recorded & filed);
    }

    /// @dev From here on the token pays. Who is refused gets a claim, by the code that `close` and `abandon` share.
    function acceptPayments() private {
        token = new WillingToken();
        svm.enableSymbolicStorage(address(token));
    }

    /// @dev Nobody owes a stale penalty. The code that takes it is the one `abandon` goes through.
    function filedInTime(Terms memory terms) private view {
        Words memory words = wordsOf(idOf(terms));
        unchecked {
            vm.assume(nonceOf(words) - filedNonceOf(words) <= terms.maxInFlight);
        }
    }

    /// @notice cashA + cashB is the pot, whatever netToB
    /// @custom:bound none
    function check_cash_addsUpToThePot(bytes32 id, int128 netToB) external view {
        Words memory words = wordsOf(id);
        vm.assume(valid(words));
        (uint256 cashA, uint256 cashB) = adjudicator.cash(id, netToB);
        uint256 pot = uint256(potOf(words));
        assert(yes(cashA <= pot) & yes(cashB == pot - cashA) == 1);
    }

    /// @notice open keeps rules 1 and 2, and lets in acceptable terms only
    /// @dev Both parties' wallets may answer anything; a key may have signed, too.
    /// @custom:bound a signature of 64 bytes, one of 65
    function check_open(
        Terms memory terms,
        uint128 depositA,
        uint128 depositB,
        uint64 validUntil,
        bytes32[2] memory a,
        bytes32[2] memory b
    ) external {
        (terms.collateral, terms.oracle) = (address(token), address(oracle));
        (terms.partyA, terms.partyB) = (address(new AnyAnswer()), address(new AnyAnswer()));
        (bytes memory short, bytes memory long) = (abi.encodePacked(a), abi.encodePacked(b, uint8(27)));
        Words memory before = wordsOf(idOf(terms));
        bool success = keepsTheRules(
            terms, abi.encodeCall(IAdjudicator.open, (terms, depositA, depositB, validUntil, short, long))
        );
        if (!success) return;
        assert(acceptable(terms) & yes(phaseOf(before) == NONE) & yes(phaseOf(wordsOf(idOf(terms))) == OPEN) == 1);
    }

    /// @notice openWithPermit keeps rules 1 and 2
    /// @custom:bound two signatures of 64 bytes, a token without permits
    function check_openWithPermit(
        Terms memory terms,
        uint128 depositA,
        uint128 depositB,
        uint64 validUntil,
        bytes32[2] memory a,
        bytes32[2] memory b,
        Permit memory permitA,
        Permit memory permitB
    ) external {
        (terms.collateral, terms.oracle) = (address(token), address(oracle));
        (terms.partyA, terms.partyB) = (address(new AnyAnswer()), address(new AnyAnswer()));
        bytes memory data = abi.encodeCall(
            IAdjudicator.openWithPermit,
            (terms, depositA, depositB, validUntil, abi.encodePacked(a), abi.encodePacked(b), permitA, permitB)
        );
        keepsTheRules(terms, data);
    }

    /// @notice deposit keeps rules 1 and 2
    /// @custom:bound none
    function check_deposit(Terms memory terms, uint8 party, uint128 amount) external {
        openable(terms);
        vm.assume(party < 3);
        keepsTheRules(terms, abi.encodeCall(IAdjudicator.deposit, (terms, Party(party), amount)));
    }

    /// @notice close keeps rules 1 and 2
    /// @custom:bound none
    function check_close(Terms memory terms, Closing memory closing, Signature memory a, Signature memory b) external {
        openable(terms);
        keepsTheRules(terms, abi.encodeCall(IAdjudicator.close, (terms, closing, a, b)));
    }

    /// @notice abandon keeps rules 1 and 2
    /// @custom:bound none
    function check_abandon(Terms memory terms) external {
        openable(terms);
        keepsTheRules(terms, abi.encodeCall(IAdjudicator.abandon, (terms)));
    }

    /// @notice withdraw keeps rules 1 and 2
    /// @custom:bound 0 positions
    function check_withdraw_empty(
        Terms memory terms,
        uint64 nonce,
        uint64 validUntil,
        Marks memory marks,
        uint128 amountA,
        uint128 amountB,
        Signature memory a,
        Signature memory b
    ) external {
        openable(terms);
        State memory state = State(idOf(terms), nonce, validUntil, portfolioOf(marks));
        Withdrawal memory withdrawal = Withdrawal(state, amountA, amountB);
        keepsTheRules(terms, abi.encodeCall(IAdjudicator.withdraw, (terms, withdrawal, a, b)));
    }

    /// @notice settle keeps rules 1 and 2
    /// @custom:bound 0 positions
    function check_settle_empty(Terms memory terms, Marks memory marks) external {
        openable(terms);
        keepsTheRules(terms, abi.encodeCall(IAdjudicator.settle, (terms, portfolioOf(marks))));
    }

    /// @notice settle keeps rules 1 and 2
    /// @custom:bound 1 position, 1 spot, a token that pays, no stale filing
    function check_settle_onePosition(
        Terms memory terms,
        Marks memory marks,
        Spot memory spot,
        Position memory position
    ) external {
        acceptPayments();
        openable(terms);
        filedInTime(terms);
        Portfolio memory portfolio = portfolioOf(marks, spot, position);
        keepsTheRules(terms, abi.encodeCall(IAdjudicator.settle, (terms, portfolio)));
    }

    /// @notice release keeps rules 1 and 2
    /// @custom:bound 0 positions
    function check_release_empty(Terms memory terms, Marks memory marks) external {
        openable(terms);
        keepsTheRules(terms, abi.encodeCall(IAdjudicator.release, (terms, new RiskParams[](0), portfolioOf(marks))));
    }

    /// @notice closeOut keeps rules 1 and 2
    /// @custom:bound 0 positions, a token that pays
    function check_closeOut_empty(Terms memory terms, Marks memory marks, uint8 party) external {
        acceptPayments();
        openable(terms);
        vm.assume(party < 3);
        keepsTheRules(
            terms,
            abi.encodeCall(
                IAdjudicator.closeOut, (terms, new RiskParams[](0), portfolioOf(marks), Party(party), new Scenario[](0))
            )
        );
    }

    /// @notice closeOut keeps rules 1 and 2
    /// @custom:bound 1 position, 1 spot, a token that pays, no stale filing
    function check_closeOut_onePosition(
        Terms memory terms,
        Marks memory marks,
        Spot memory spot,
        Position memory position,
        uint8 party
    ) external {
        acceptPayments();
        openable(terms);
        filedInTime(terms);
        vm.assume(party < 3);
        Portfolio memory portfolio = portfolioOf(marks, spot, position);
        keepsTheRules(
            terms,
            abi.encodeCall(
                IAdjudicator.closeOut, (terms, new RiskParams[](0), portfolio, Party(party), new Scenario[](0))
            )
        );
    }

    /// @notice checkpoint keeps rules 1 and 2
    /// @custom:bound none
    function check_checkpoint(
        Terms memory terms,
        uint64 nonce,
        uint64 validUntil,
        bytes32 portfolioHash,
        Signature memory a,
        Signature memory b
    ) external {
        openable(terms);
        bytes memory data = abi.encodeCall(
            IAdjudicator.checkpoint,
            (terms.signerA, terms.signerB, hashOf(terms), nonce, validUntil, portfolioHash, a.r, a.vs, b.r, b.vs)
        );
        keepsTheRules(terms, data);
    }

    /// @notice checkpointMany keeps rules 1 and 2
    /// @custom:bound 1 state
    function check_checkpointMany_one(
        Terms memory terms,
        uint64 nonce,
        uint64 validUntil,
        bytes32 portfolioHash,
        Signature memory a,
        Signature memory b
    ) external {
        openable(terms);
        SignedState[] memory states = new SignedState[](1);
        states[0] = SignedState(terms.signerA, terms.signerB, hashOf(terms), nonce, validUntil, portfolioHash, a, b);
        keepsTheRules(terms, abi.encodeCall(IAdjudicator.checkpointMany, (states)));
    }

    /// @notice dispute keeps rules 1 and 2
    /// @custom:bound none
    function check_dispute(Terms memory terms) external {
        openable(terms);
        keepsTheRules(terms, abi.encodeCall(IDispute.dispute, (terms)));
    }

    /// @notice dispute with a state keeps rules 1 and 2
    /// @custom:bound 0 positions
    function check_disputeWithState_empty(
        Terms memory terms,
        uint64 nonce,
        uint64 validUntil,
        Marks memory marks,
        Signature memory a,
        Signature memory b
    ) external {
        openable(terms);
        State memory state = State(idOf(terms), nonce, validUntil, portfolioOf(marks));
        keepsTheRules(terms, abi.encodeCall(IDisputeWithState.dispute, (terms, state, a, b)));
    }

    /// @notice disputeFor keeps rules 1 and 2
    /// @custom:bound 0 positions
    function check_disputeFor_empty(
        Terms memory terms,
        uint64 nonce,
        uint64 validUntil,
        Marks memory marks,
        Signature memory a,
        Signature memory b,
        DisputeAuthorisation memory authorisation,
        Signature memory c
    ) external {
        openable(terms);
        State memory state = State(idOf(terms), nonce, validUntil, portfolioOf(marks));
        keepsTheRules(terms, abi.encodeCall(IAdjudicator.disputeFor, (terms, state, a, b, authorisation, c)));
    }

    /// @notice callMargin keeps rules 1 and 2
    /// @custom:bound 0 positions
    function check_callMargin_empty(Terms memory terms, Marks memory marks, uint8 party) external {
        openable(terms);
        vm.assume(party < 3);
        keepsTheRules(
            terms,
            abi.encodeCall(
                IAdjudicator.callMargin,
                (terms, new RiskParams[](0), portfolioOf(marks), Party(party), new Scenario[](0))
            )
        );
    }

    /// @notice claim pays a claim once and touches nothing else
    /// @dev Who has a claim gets it once; everybody else's stays, and every channel's money.
    /// @custom:bound none
    function check_claim(address to, address sender, address otherToken, address other, bytes32 id) external {
        vm.assume(yes(otherToken != address(token)) | yes(other != sender) == 1);
        (uint256 paid, uint256 claim, uint256 otherClaim) =
            (tokenWord(PAID_SLOT), claimOf(address(token), sender), claimOf(otherToken, other));
        Words memory words = wordsOf(id);
        vm.prank(sender);
        (bool success,) = address(adjudicator).call(abi.encodeCall(IAdjudicator.claim, (address(token), to)));
        if (!success) return;
        unchecked {
            assert(
                yes(tokenWord(PAID_SLOT) - paid == claim) & yes(claimOf(address(token), sender) == 0)
                        & yes(claimOf(otherToken, other) == otherClaim) & yes(same(words, wordsOf(id))) == 1
            );
        }
    }
}
