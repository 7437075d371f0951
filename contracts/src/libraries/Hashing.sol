// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Closing, DisputeAuthorisation, Opening, Portfolio, Position, Spot, State, Terms, Withdrawal} from "./Types.sol";

/// @notice EIP-712 hashes of everything that is signed, and the id of a channel.
/// @dev Structs of static members are hashed as they lie in calldata. A word with dirty upper bits therefore hashes to
/// something no wallet signs; should two signers sign it all the same, reading the member reverts later.
library Hashing {
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    // Type hashes as numbers: the compiler would put the longer strings together and hash them at run time. A test
    // hashes the strings of `Types` again and compares.
    bytes32 internal constant TERMS_TYPEHASH = 0x6a4f69d18dcba7a214442994aa0ba34ce4dff6391f324167187c16cc5fc1b926;
    bytes32 internal constant POSITION_TYPEHASH = 0x2b37e36acc67420f651ba29d0b5aaf2c5ac1a60ae92aedecc8330cf1971626bf;
    bytes32 internal constant SPOT_TYPEHASH = 0x0df8cb0811270d4f5548db21535ca8c613f0ccdef339bc8f26f7fb8cede1e09f;
    bytes32 internal constant PORTFOLIO_TYPEHASH = 0x9d6a055c1d5928a23d5f0299376f0afa8779c73e9fe8dca465e131b1148e6af2;
    bytes32 internal constant STATE_TYPEHASH = 0x8e1339161a06b462d9e7aceba911f1c5fa98e750d70626dccb3ba8d72ce70f48;
    bytes32 internal constant OPENING_TYPEHASH = 0x9c294e54fd7e6de2b4889772f5bcfdf67edaf7544b9d7e89edab1d91b08d8ab0;
    bytes32 internal constant WITHDRAWAL_TYPEHASH = 0xa7ad139331627465ce7c9aedaf309640bcdf8489cff5fb4a72ea4458684b9d57;
    bytes32 internal constant CLOSING_TYPEHASH = 0xcb17d45ad10427aeae68b79e7a2452555469e7eac8f14a006d03e3061ec2c5aa;
    bytes32 internal constant DISPUTE_AUTHORISATION_TYPEHASH =
        0x9d84b76dbb3ccb3aa9c55897b7d95e736400bbe7aa853cffc5cb5ac27b147772;

    /// @notice Hash of the portfolio that stands for nonce 0: nothing in it.
    bytes32 internal constant EMPTY_PORTFOLIO_HASH = 0xee3f7e13c5ed4e9b6480cdf96cabb555e03816cff6fe615a6c708627fb7d785d;

    function domainSeparator(string memory name, string memory version, address verifyingContract)
        internal
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                DOMAIN_TYPEHASH, keccak256(bytes(name)), keccak256(bytes(version)), block.chainid, verifyingContract
            )
        );
    }

    /// @notice What is signed: the EIP-712 digest of `structHash` in the domain.
    function digest(bytes32 separator, bytes32 structHash) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(0x00, hex"1901")
            mstore(0x02, separator)
            mstore(0x22, structHash) // reaches into the free memory pointer, put back below
            result := keccak256(0x00, 0x42)
            mstore(0x40, free)
        }
    }

    /// @notice Id of the channel that `termsHash` opens on the Adjudicator deployed at this chain id.
    function channelId(uint256 chainId, address adjudicator, address signerA, address signerB, bytes32 termsHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(chainId, adjudicator, signerA, signerB, termsHash));
    }

    function hash(Terms calldata terms) internal pure returns (bytes32 result) {
        bytes32 typeHash = TERMS_TYPEHASH;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            calldatacopy(add(free, 0x20), terms, 0x240) // eighteen words
            result := keccak256(free, 0x260)
        }
    }

    function hash(Spot[] calldata spots) internal pure returns (bytes32) {
        bytes32 typeHash = SPOT_TYPEHASH;
        bytes32[] memory hashes = new bytes32[](spots.length);
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            let source := spots.offset
            let last := add(hashes, shl(5, spots.length))
            for { let target := hashes } lt(target, last) { source := add(source, 0x40) } {
                target := add(target, 0x20)
                calldatacopy(add(free, 0x20), source, 0x40) // two words
                mstore(target, keccak256(free, 0x60))
            }
        }
        return keccakOf(hashes);
    }

    /// @notice Hash of each position, in order; `keccakOf` them for the hash of the array.
    function each(Position[] calldata positions) internal pure returns (bytes32[] memory hashes) {
        bytes32 typeHash = POSITION_TYPEHASH;
        hashes = new bytes32[](positions.length);
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            let source := positions.offset
            let last := add(hashes, shl(5, positions.length))
            for { let target := hashes } lt(target, last) { source := add(source, 0xe0) } {
                target := add(target, 0x20)
                calldatacopy(add(free, 0x20), source, 0xe0) // seven words
                mstore(target, keccak256(free, 0x100))
            }
        }
    }

    /// @notice Hash of the elements of `words`, its length left out: an EIP-712 array of hashes.
    function keccakOf(bytes32[] memory words) internal pure returns (bytes32 result) {
        assembly ("memory-safe") {
            result := keccak256(add(words, 0x20), shl(5, mload(words)))
        }
    }

    function hash(Portfolio calldata portfolio) internal pure returns (bytes32) {
        return hash(portfolio, hash(portfolio.spots), keccakOf(each(portfolio.positions)));
    }

    /// @notice Hash of `portfolio` whose arrays hash to these two.
    function hash(Portfolio calldata portfolio, bytes32 spotsHash, bytes32 positionsHash)
        internal
        pure
        returns (bytes32 result)
    {
        bytes32 typeHash = PORTFOLIO_TYPEHASH;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typeHash)
            calldatacopy(add(free, 0x20), portfolio, 0x80) // netToB, marginA, marginB, markedAt
            mstore(add(free, 0xa0), spotsHash)
            mstore(add(free, 0xc0), positionsHash)
            result := keccak256(free, 0xe0)
        }
    }

    /// @notice Hash of `portfolio` with another `netToB` and other positions: what remains after a settlement.
    function hashMoved(Portfolio calldata portfolio, int256 netToB, bytes32 spotsHash, bytes32 positionsHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                PORTFOLIO_TYPEHASH,
                netToB,
                portfolio.marginA,
                portfolio.marginB,
                portfolio.markedAt,
                spotsHash,
                positionsHash
            )
        );
    }

    /// @notice Hash of a state of which only the portfolio's hash is known.
    function hashState(bytes32 id, uint64 nonce, uint64 validUntil, bytes32 portfolioHash)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(STATE_TYPEHASH, id, nonce, validUntil, portfolioHash));
    }

    function hash(State calldata state) internal pure returns (bytes32) {
        return hashState(state.channelId, state.nonce, state.validUntil, hash(state.portfolio));
    }

    function hashOpening(bytes32 termsHash, uint128 depositA, uint128 depositB, uint64 validUntil)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(OPENING_TYPEHASH, termsHash, depositA, depositB, validUntil));
    }

    function hashWithdrawal(bytes32 stateHash, uint128 amountA, uint128 amountB) internal pure returns (bytes32) {
        return keccak256(abi.encode(WITHDRAWAL_TYPEHASH, stateHash, amountA, amountB));
    }

    function hash(Withdrawal calldata withdrawal) internal pure returns (bytes32) {
        return hashWithdrawal(hash(withdrawal.state), withdrawal.amountA, withdrawal.amountB);
    }

    function hash(Closing calldata closing) internal pure returns (bytes32) {
        return
            keccak256(
                abi.encode(CLOSING_TYPEHASH, closing.channelId, closing.nonce, closing.validUntil, closing.netToB)
            );
    }

    function hash(DisputeAuthorisation calldata authorisation) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                DISPUTE_AUTHORISATION_TYPEHASH,
                authorisation.channelId,
                authorisation.delegate,
                authorisation.minNonce,
                authorisation.validUntil
            )
        );
    }
}
