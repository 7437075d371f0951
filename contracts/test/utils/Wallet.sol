// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice An ERC-1271 wallet that accepts the digests it is told to, in the manner it is told to.
contract Wallet {
    enum Answer {
        Magic,
        Wrong,
        Short,
        Reverts,
        DirtyMagic
    }

    Answer public answer;
    mapping(bytes32 => bool) public approved;

    function set(Answer answer_) external {
        answer = answer_;
    }

    function approveDigest(bytes32 digest, bool value) external {
        approved[digest] = value;
    }

    function execute(address target, bytes calldata data) external returns (bytes memory) {
        (bool success, bytes memory result) = target.call(data);
        if (!success) {
            assembly {
                revert(add(result, 32), mload(result))
            }
        }
        return result;
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        if (answer == Answer.Reverts) revert("no");
        if (answer == Answer.Short) {
            assembly {
                mstore(0, shl(224, 0x1626ba7e))
                return(0, 4)
            }
        }
        if (answer == Answer.DirtyMagic) {
            assembly {
                mstore(0, or(shl(224, 0x1626ba7e), 1))
                return(0, 32)
            }
        }
        return approved[digest] && answer == Answer.Magic ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}
