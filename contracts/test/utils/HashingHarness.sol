// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Hashing} from "../../src/libraries/Hashing.sol";
import {Payoff} from "../../src/libraries/Payoff.sol";
import {Signatures} from "../../src/libraries/Signatures.sol";
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
} from "../../src/libraries/Types.sol";

/// @notice The contract's hashes and payoffs as calls of their own. Python compiles this and compares, value by value.
contract HashingHarness {
    function hashTerms(Terms calldata terms) external pure returns (bytes32) {
        return Hashing.hash(terms);
    }

    function hashPositions(Position[] calldata positions) external pure returns (bytes32[] memory) {
        return Hashing.each(positions);
    }

    function hashSpots(Spot[] calldata spots) external pure returns (bytes32) {
        return Hashing.hash(spots);
    }

    function hashPortfolio(Portfolio calldata portfolio) external pure returns (bytes32) {
        return Hashing.hash(portfolio);
    }

    function hashState(State calldata state) external pure returns (bytes32) {
        return Hashing.hash(state);
    }

    function hashOpening(Opening calldata opening) external pure returns (bytes32) {
        return Hashing.hashOpening(Hashing.hash(opening.terms), opening.depositA, opening.depositB, opening.validUntil);
    }

    function hashWithdrawal(Withdrawal calldata withdrawal) external pure returns (bytes32) {
        return Hashing.hash(withdrawal);
    }

    function hashClosing(Closing calldata closing) external pure returns (bytes32) {
        return Hashing.hash(closing);
    }

    function hashDisputeAuthorisation(DisputeAuthorisation calldata authorisation) external pure returns (bytes32) {
        return Hashing.hash(authorisation);
    }

    function emptyPortfolioHash() external pure returns (bytes32) {
        return Hashing.EMPTY_PORTFOLIO_HASH;
    }

    function channelId(uint256 chainId, address adjudicator, Terms calldata terms) external pure returns (bytes32) {
        return Hashing.channelId(chainId, adjudicator, terms.signerA, terms.signerB, Hashing.hash(terms));
    }

    /// @notice Domain separator for this block's chain id.
    function domainSeparator(string calldata name, string calldata version, address verifyingContract)
        external
        view
        returns (bytes32)
    {
        return Hashing.domainSeparator(name, version, verifyingContract);
    }

    function digest(bytes32 separator, bytes32 structHash) external pure returns (bytes32) {
        return Hashing.digest(separator, structHash);
    }

    function recover(bytes32 digest_, bytes32 r, bytes32 vs) external view returns (address) {
        return Signatures.recover(digest_, r, vs);
    }

    /// @notice Payoff to the side `quantity` counts for.
    function payoff(uint8 kind, uint128 strike, int128 quantity, uint128 price, uint128 unit)
        external
        pure
        returns (int256)
    {
        return Payoff.truncated(kind, strike, quantity, price, unit);
    }

    function moveNet(int128 netToB, int256 payoff_) external pure returns (int256) {
        return Payoff.moveNet(netToB, payoff_);
    }
}
