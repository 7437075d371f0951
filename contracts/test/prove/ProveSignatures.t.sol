// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAdjudicator} from "../../src/interfaces/IAdjudicator.sol";
import {
    Closing,
    DisputeAuthorisation,
    Portfolio,
    Position,
    Signature,
    SignedState,
    Spot,
    State,
    Terms,
    Withdrawal
} from "../../src/libraries/Types.sol";
import {IDisputeWithState} from "./ProveCalls.t.sol";
import {Proof} from "./Proof.sol";

/// @notice Rule 9, and that a signature binds everything it is put under. What is signed is written out here from the
/// EIP-712 types of the design, type strings included, and not taken from the contract. ecrecover is any function.
contract ProveSignatures is Proof {
    string private constant PORTFOLIO =
        "Portfolio(int128 netToB,uint128 marginA,uint128 marginB,uint64 markedAt,Spot[] spots,Position[] positions)";
    string private constant POSITION =
        "Position(bytes32 feed,uint8 kind,uint64 expiry,uint128 strike,int128 quantity,uint128 vol,int128 carry)";
    string private constant SPOT = "Spot(bytes32 feed,uint128 price)";
    string private constant STATE = "State(bytes32 channelId,uint64 nonce,uint64 validUntil,Portfolio portfolio)";
    string private constant WITHDRAWAL = "Withdrawal(State state,uint128 amountA,uint128 amountB)";
    string private constant CLOSING = "Closing(bytes32 channelId,uint64 nonce,uint64 validUntil,int128 netToB)";
    string private constant AUTHORISATION =
        "DisputeAuthorisation(bytes32 channelId,address delegate,uint64 minNonce,uint64 validUntil)";

    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    // ---- what is signed

    function typeHash(string memory text) private pure returns (bytes32) {
        return keccak256(bytes(text));
    }

    function digestOf(bytes32 structHash) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                typeHash("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                typeHash("OptionChannels"),
                typeHash("1"),
                block.chainid,
                address(adjudicator)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function hashOf(Portfolio memory portfolio) private pure returns (bytes32) {
        bytes32[] memory spots = new bytes32[](portfolio.spots.length);
        for (uint256 i = 0; i < spots.length; ++i) {
            spots[i] = keccak256(abi.encode(typeHash(SPOT), portfolio.spots[i]));
        }
        bytes32[] memory positions = new bytes32[](portfolio.positions.length);
        for (uint256 i = 0; i < positions.length; ++i) {
            positions[i] = keccak256(abi.encode(typeHash(POSITION), portfolio.positions[i]));
        }
        return keccak256(
            abi.encode(
                typeHash(string.concat(PORTFOLIO, POSITION, SPOT)),
                portfolio.netToB,
                portfolio.marginA,
                portfolio.marginB,
                portfolio.markedAt,
                keccak256(abi.encodePacked(spots)),
                keccak256(abi.encodePacked(positions))
            )
        );
    }

    function hashOfState(bytes32 id, uint64 nonce, uint64 validUntil, bytes32 portfolioHash)
        private
        pure
        returns (bytes32)
    {
        bytes32 stateType = typeHash(string.concat(STATE, PORTFOLIO, POSITION, SPOT));
        return keccak256(abi.encode(stateType, id, nonce, validUntil, portfolioHash));
    }

    function hashOf(State memory state) private pure returns (bytes32) {
        return hashOfState(state.channelId, state.nonce, state.validUntil, hashOf(state.portfolio));
    }

    function hashOf(Withdrawal memory withdrawal) private pure returns (bytes32) {
        bytes32 withdrawalType = typeHash(string.concat(WITHDRAWAL, PORTFOLIO, POSITION, SPOT, STATE));
        return keccak256(abi.encode(withdrawalType, hashOf(withdrawal.state), withdrawal.amountA, withdrawal.amountB));
    }

    function hashOf(Closing memory closing) private pure returns (bytes32) {
        return keccak256(abi.encode(typeHash(CLOSING), closing));
    }

    function hashOf(DisputeAuthorisation memory authorisation) private pure returns (bytes32) {
        return keccak256(abi.encode(typeHash(AUTHORISATION), authorisation));
    }

    /// @dev Whether `signer`, and not nobody, put this low-s signature under `structHash`.
    function signed(address signer, bytes32 structHash, Signature memory signature) private view returns (uint256) {
        uint256 s = uint256(signature.vs) & (2 ** 255 - 1);
        uint8 v = uint8(27 + (uint256(signature.vs) >> 255));
        address recovered = ecrecover(digestOf(structHash), v, signature.r, bytes32(s));
        return yes(recovered == signer) & yes(signer != address(0)) & yes(s <= HALF_ORDER);
    }

    // ---- acceptance implies both signatures

    /// @dev Sends it from any valid state. `moved`: it changed something of the channel.
    function sendTo(bytes32 id, bytes memory data) private returns (bool moved, bytes memory result) {
        anyTime();
        Words memory before = wordsOf(id);
        vm.assume(valid(before));
        bool success;
        (success, result) = send(data);
        moved = success && !same(before, wordsOf(id));
    }

    /// @notice checkpoint records what both signed, in its box
    /// @custom:bound none
    function check_checkpoint_bothSigned(
        address signerA,
        address signerB,
        bytes32 termsHash,
        uint64 nonce,
        uint64 validUntil,
        bytes32 portfolioHash,
        Signature memory a,
        Signature memory b
    ) external {
        bytes32 id = idOf(signerA, signerB, termsHash);
        bytes memory data = abi.encodeCall(
            IAdjudicator.checkpoint,
            (signerA, signerB, termsHash, nonce, validUntil, portfolioHash, a.r, a.vs, b.r, b.vs)
        );
        (bool moved,) = sendTo(id, data);
        if (!moved) return;
        bytes32 structHash = hashOfState(id, nonce, validUntil, portfolioHash);
        assert(signed(signerA, structHash, a) & signed(signerB, structHash, b) == 1);
        recorded(id, nonce, validUntil, portfolioHash);
    }

    /// @dev What was signed is what is recorded, in its box.
    function recorded(bytes32 id, uint64 nonce, uint64 validUntil, bytes32 portfolioHash) private view {
        Words memory afterwards = wordsOf(id);
        assert(
            yes(nonceOf(afterwards) == nonce) & yes(afterwards.portfolioHash == portfolioHash)
                    & (yes(validUntil == 0) | yes(block.timestamp <= validUntil)) == 1
        );
    }

    /// @notice checkpointMany records what both signed, in its box
    /// @custom:bound 1 state
    function check_checkpointMany_one_bothSigned(SignedState memory state) external {
        bytes32 id = idOf(state.signerA, state.signerB, state.termsHash);
        SignedState[] memory states = new SignedState[](1);
        states[0] = state;
        (bool moved,) = sendTo(id, abi.encodeCall(IAdjudicator.checkpointMany, (states)));
        if (!moved) return;
        bytes32 structHash = hashOfState(id, state.nonce, state.validUntil, state.portfolioHash);
        assert(
            signed(state.signerA, structHash, state.signatureA) & signed(state.signerB, structHash, state.signatureB)
                == 1
        );
        recorded(id, state.nonce, state.validUntil, state.portfolioHash);
    }

    /// @notice withdraw pays and records what both signed, in its box
    /// @custom:bound 1 position, 1 spot
    function check_withdraw_onePosition_bothSigned(
        Terms memory terms,
        uint64 nonce,
        uint64 validUntil,
        Marks memory marks,
        Spot memory spot,
        Position memory position,
        uint128 amountA,
        uint128 amountB,
        Signature memory a,
        Signature memory b
    ) external {
        openable(terms);
        bytes32 id = idOf(terms);
        State memory state = State(id, nonce, validUntil, portfolioOf(marks, spot, position));
        Withdrawal memory withdrawal = Withdrawal(state, amountA, amountB);
        (bool moved,) = sendTo(id, abi.encodeCall(IAdjudicator.withdraw, (terms, withdrawal, a, b)));
        if (!moved) return;
        bytes32 structHash = hashOf(withdrawal);
        assert(signed(terms.signerA, structHash, a) & signed(terms.signerB, structHash, b) == 1);
        recorded(id, nonce, validUntil, hashOf(state.portfolio));
    }

    /// @notice close ends what both signed, in its box
    /// @custom:bound none
    function check_close_bothSigned(Terms memory terms, Closing memory closing, Signature memory a, Signature memory b)
        external
    {
        openable(terms);
        bytes32 id = idOf(terms);
        (bool moved,) = sendTo(id, abi.encodeCall(IAdjudicator.close, (terms, closing, a, b)));
        if (!moved) return;
        bytes32 structHash = hashOf(closing);
        assert(signed(terms.signerA, structHash, a) & signed(terms.signerB, structHash, b) == 1);
        assert(yes(closing.channelId == id) & yes(block.timestamp <= closing.validUntil) == 1);
    }

    /// @notice dispute records what both signed, in its box
    /// @custom:bound 1 position, 1 spot
    function check_dispute_onePosition_bothSigned(
        Terms memory terms,
        uint64 nonce,
        uint64 validUntil,
        Marks memory marks,
        Spot memory spot,
        Position memory position,
        Signature memory a,
        Signature memory b
    ) external {
        openable(terms);
        bytes32 id = idOf(terms);
        State memory state = State(id, nonce, validUntil, portfolioOf(marks, spot, position));
        (bool moved, bytes memory result) = sendTo(id, abi.encodeCall(IDisputeWithState.dispute, (terms, state, a, b)));
        if (!moved || !abi.decode(result, (bool))) return;
        bytes32 structHash = hashOf(state);
        assert(signed(terms.signerA, structHash, a) & signed(terms.signerB, structHash, b) == 1);
        recorded(id, nonce, validUntil, hashOf(state.portfolio));
    }

    /// @notice disputeFor takes a signer's word alone, and files in its name
    /// @dev And a delegate disputes only with the word of a signer, in whose name it then files.
    /// @custom:bound 0 positions
    function check_disputeFor_empty_authorised(
        Terms memory terms,
        uint64 nonce,
        Marks memory marks,
        Signature memory a,
        Signature memory b,
        DisputeAuthorisation memory authorisation,
        Signature memory c
    ) external {
        openable(terms);
        bytes32 id = idOf(terms);
        State memory state = State(id, nonce, 0, portfolioOf(marks));
        uint256 phase = phaseOf(wordsOf(id));
        uint256 before = nonceOf(wordsOf(id));
        (bool moved,) = sendTo(id, abi.encodeCall(IAdjudicator.disputeFor, (terms, state, a, b, authorisation, c)));
        if (!moved) return;
        Words memory afterwards = wordsOf(id);
        bytes32 structHash = hashOf(authorisation);
        uint256 byA = signed(terms.signerA, structHash, c);
        uint256 byB = signed(terms.signerB, structHash, c);
        assert(
            (byA | byB) & yes(authorisation.channelId == id) & yes(block.timestamp <= authorisation.validUntil)
                    & yes(nonceOf(afterwards) >= authorisation.minNonce) == 1
        );
        if (phase == OPEN) assert((byA & yes(filerOf(afterwards) == 1)) | (byB & yes(filerOf(afterwards) == 2)) == 1);
        bytes32 stateHash = hashOf(state);
        assert(
            yes(nonceOf(afterwards) == before)
                    | (signed(terms.signerA, stateHash, a) & signed(terms.signerB, stateHash, b)) == 1
        );
    }

    // ---- what is signed binds every member
    /// @notice two states that differ have two digests
    /// @custom:bound none
    function check_digest_bindsEveryMember(
        bytes32 id,
        uint64 nonce,
        uint64 validUntil,
        bytes32 portfolioHash,
        bytes32 id2,
        uint64 nonce2,
        uint64 validUntil2,
        bytes32 portfolioHash2
    ) external view {
        bytes32 first = digestOf(hashOfState(id, nonce, validUntil, portfolioHash));
        bytes32 second = digestOf(hashOfState(id2, nonce2, validUntil2, portfolioHash2));
        uint256 equal = yes(id == id2) & yes(nonce == nonce2) & yes(validUntil == validUntil2)
            & yes(portfolioHash == portfolioHash2);
        assert((equal | yes(first != second)) == 1);
    }

    /// @notice two portfolios that differ have two hashes
    /// @custom:bound 0 to 2 positions, 1 spot
    function check_portfolioHash_bindsEveryMember(
        Marks memory marks,
        Spot memory spot,
        Position memory position,
        Marks memory marks2,
        Spot memory spot2,
        Position memory position2
    ) external pure {
        bytes32 one = hashOf(portfolioOf(marks, spot, position));
        bytes32 other = hashOf(portfolioOf(marks2, spot2, position2));
        uint256 equal =
            yes(keccak256(abi.encode(marks, spot, position)) == keccak256(abi.encode(marks2, spot2, position2)));
        assert((equal | yes(one != other)) == 1);
        // Nor does one more position leave the hash as it is, or none.
        bytes32 longer = hashOf(portfolioOf(marks2, spot2, position2, position));
        assert(yes(one != longer) & yes(one != hashOf(portfolioOf(marks2))) == 1);
    }

    /// @notice a signature of one type passes for no other
    /// @dev A signature for one type of message passes for no other.
    /// @custom:bound 0 positions
    function check_digest_bindsTheType(
        bytes32 id,
        uint64 nonce,
        uint64 validUntil,
        bytes32 portfolioHash,
        Marks memory marks,
        uint128 amountA,
        uint128 amountB,
        Closing memory closing,
        DisputeAuthorisation memory authorisation
    ) external view {
        bytes32 state = digestOf(hashOfState(id, nonce, validUntil, portfolioHash));
        bytes32 withdrawal =
            digestOf(hashOf(Withdrawal(State(id, nonce, validUntil, portfolioOf(marks)), amountA, amountB)));
        bytes32 close = digestOf(hashOf(closing));
        bytes32 dispute = digestOf(hashOf(authorisation));
        assert(
            yes(state != withdrawal) & yes(state != close) & yes(state != dispute) & yes(withdrawal != close)
                    & yes(withdrawal != dispute) & yes(close != dispute) == 1
        );
    }

    /// @notice terms that differ have two channels
    /// @custom:bound none
    function check_channelId_bindsTheTerms(Terms memory terms, Terms memory others) external view {
        uint256 equal = yes(keccak256(abi.encode(terms)) == keccak256(abi.encode(others)));
        assert(equal | yes(adjudicator.channelId(terms) != adjudicator.channelId(others)) == 1);
        assert(adjudicator.channelId(terms) == idOf(terms));
    }
}
