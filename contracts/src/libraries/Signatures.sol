// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Errors} from "./Errors.sol";
import {Signature} from "./Types.sol";

/// @notice Who signed. Low-s only and never the zero address (rule 9).
library Signatures {
    /// @dev secp256k1 order / 2, the largest s accepted: of the two forms of a signature one is refused.
    uint256 internal constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// @dev `isValidSignature(bytes32,bytes)`, both the selector and the answer that means yes (ERC-1271).
    bytes4 internal constant ERC1271_MAGIC = 0x1626ba7e;

    /// @notice Requires an externally owned `signer`'s compact signature (EIP-2098) on `digest`.
    function requireSigner(address signer, bytes32 digest, bytes32 r, bytes32 vs) internal view {
        if (!isFrom(signer, digest, r, vs)) revert Errors.InvalidSignature(signer);
    }

    function requireSigner(address signer, bytes32 digest, Signature calldata signature) internal view {
        requireSigner(signer, digest, signature.r, signature.vs);
    }

    /// @notice Requires `party`'s word on `digest`: its key's signature of 64 (EIP-2098) or 65 bytes, or whatever its
    /// ERC-1271 wallet takes.
    /// @dev The key is tried first: that saves a look at the account, and accounts with delegated code (EIP-7702) may
    /// sign either way.
    function requireParty(address party, bytes32 digest, bytes calldata signature) internal view {
        if (signature.length == 64) {
            if (isFrom(party, digest, bytes32(signature[:32]), bytes32(signature[32:]))) return;
        } else if (signature.length == 65) {
            uint8 v = uint8(signature[64]);
            uint256 s = uint256(bytes32(signature[32:64]));
            // Without these an s with its top bit set, or any v, would be read as the other parity.
            if ((v == 27 || v == 28) && s <= HALF_ORDER) {
                if (isFrom(party, digest, bytes32(signature[:32]), bytes32(uint256(v - 27) << 255 | s))) return;
            }
        }
        if (!_walletAccepts(party, digest, signature)) revert Errors.InvalidSignature(party);
    }

    /// @notice Whether it is an externally owned `signer`'s compact signature (EIP-2098) on `digest`.
    function isFrom(address signer, bytes32 digest, bytes32 r, bytes32 vs) internal view returns (bool) {
        address recovered = recover(digest, r, vs);
        return recovered == signer && recovered != address(0);
    }

    function isFrom(address signer, bytes32 digest, Signature calldata signature) internal view returns (bool) {
        return isFrom(signer, digest, signature.r, signature.vs);
    }

    /// @notice Whoever signed `digest`; the zero address for a malformed, high-s or otherwise invalid signature.
    function recover(bytes32 digest, bytes32 r, bytes32 vs) internal view returns (address signer) {
        uint256 halfOrder = HALF_ORDER;
        assembly ("memory-safe") {
            let s := shr(1, shl(1, vs))
            if iszero(gt(s, halfOrder)) {
                let free := mload(0x40)
                mstore(free, digest)
                mstore(add(free, 0x20), add(27, shr(255, vs)))
                mstore(add(free, 0x40), r)
                mstore(add(free, 0x60), s)
                // ecrecover answers nothing for an invalid signature: then the word written here stays 0.
                mstore(0x00, 0)
                pop(staticcall(gas(), 1, free, 0x80, 0x00, 0x20))
                signer := mload(0x00)
            }
        }
    }

    function _walletAccepts(address wallet, bytes32 digest, bytes calldata signature) private view returns (bool) {
        bytes memory input = abi.encodeWithSelector(ERC1271_MAGIC, digest, signature);
        bool success;
        bytes32 answer;
        uint256 size;
        assembly ("memory-safe") {
            success := staticcall(gas(), wallet, add(input, 0x20), mload(input), 0x00, 0x20)
            size := returndatasize()
            answer := mload(0x00)
        }
        // An account without code succeeds and returns nothing, so the size is what tells.
        return success && size >= 32 && answer == bytes32(ERC1271_MAGIC);
    }
}
