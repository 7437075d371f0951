// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice A small ERC-20 that misbehaves on request, for everybody or for one payee only.
contract HostileToken {
    enum Fault {
        None,
        NoReturn, // USDT: works, returns nothing
        ReturnsFalse,
        ReturnsTwo, // a word that is neither false nor true
        ReturnsShort,
        Reverts,
        RevertsLong, // with much return data
        BurnsGas,
        Fee, // a hundredth of each transfer is lost
        Reenters,
        ShrinksOnPull // rebasing
    }

    Fault public fault;
    /// Whom the fault concerns; zero = everybody.
    address public victim;
    address public target;
    bytes public reentry;
    bool public reentered;
    bytes public reentryError;
    bool public balanceFails;
    uint256 public totalSupply;
    mapping(address => uint256) private _balances;
    mapping(address => mapping(address => uint256)) public allowance;

    function setFault(Fault fault_, address victim_) external {
        (fault, victim) = (fault_, victim_);
    }

    function setBalanceFails(bool fails) external {
        balanceFails = fails;
    }

    function setReentry(address target_, bytes calldata data) external {
        (fault, victim, target, reentry) = (Fault.Reenters, address(0), target_, data);
    }

    function mint(address to, uint256 amount) external {
        _balances[to] += amount;
        totalSupply += amount;
    }

    function approve(address spender, uint256 amount) external {
        allowance[msg.sender][spender] = amount;
    }

    function balanceOf(address account) external view returns (uint256) {
        if (balanceFails) {
            assembly {
                return(0, 31)
            }
        }
        return _balances[account];
    }

    function transferFrom(address from, address to, uint256 amount) external {
        if (allowance[from][msg.sender] != type(uint256).max) allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
    }

    function transfer(address to, uint256 amount) external {
        _move(msg.sender, to, amount);
    }

    function _move(address from, address to, uint256 amount) private {
        Fault now_ = victim == address(0) || victim == to ? fault : Fault.None;
        if (now_ == Fault.Reverts) revert("token");
        if (now_ == Fault.RevertsLong) {
            assembly {
                revert(0, 100000)
            }
        }
        if (now_ == Fault.BurnsGas) {
            while (true) {}
        }
        if (now_ == Fault.ReturnsFalse) {
            assembly {
                mstore(0, 0)
                return(0, 32)
            }
        }
        _balances[from] -= amount;
        _balances[to] += now_ == Fault.Fee || now_ == Fault.ShrinksOnPull ? amount - amount / 100 : amount;
        if (now_ == Fault.Reenters) {
            (bool success, bytes memory answer) = target.call(reentry);
            (reentered, reentryError) = (success, answer);
        }
        if (now_ == Fault.NoReturn) {
            assembly {
                return(0, 0)
            }
        }
        if (now_ == Fault.ReturnsShort) {
            assembly {
                mstore(0, 1)
                return(0, 31)
            }
        }
        uint256 word = now_ == Fault.ReturnsTwo ? 2 : 1;
        assembly {
            mstore(0, word)
            return(0, 32)
        }
    }
}
