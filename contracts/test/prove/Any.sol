// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Svm} from "./Svm.sol";

/// @dev Where halmos listens.
Svm constant svm = Svm(address(uint160(uint256(keccak256("svm cheat code")))));

/// @notice A token that accepts or refuses as it likes, and keeps count of what it accepted to pay, and to whom. What
/// our balance comes to after a pull is anything.
contract AnyToken {
    uint256 public held;
    uint256 public paid;
    mapping(address payee => uint256 amount) public paidTo;

    function balanceOf(address) external view returns (uint256) {
        return held;
    }

    function transfer(address payee, uint256 amount) external returns (bool) {
        if (!accepts()) return false;
        unchecked {
            paid += amount;
            paidTo[payee] += amount;
        }
        return true;
    }

    function transferFrom(address, address, uint256) external returns (bool) {
        held = svm.createUint256("held");
        return svm.createBool("pulls");
    }

    function accepts() internal view virtual returns (bool) {
        return svm.createBool("accepts");
    }
}

/// @notice The same, but it accepts every payment: a quarter of the paths, where what a refusal leads to is proven
/// elsewhere.
contract WillingToken is AnyToken {
    function accepts() internal pure override returns (bool) {
        return true;
    }
}

/// @notice Answers every call with any two words: an oracle, or a RiskEngine, that may say anything, and another thing
/// each time.
contract AnyAnswer {
    fallback(bytes calldata) external returns (bytes memory) {
        return abi.encode(svm.createUint256("first"), svm.createUint256("second"));
    }
}
