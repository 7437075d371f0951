// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Errors} from "./Errors.sol";
import {OracleReader} from "./OracleReader.sol";
import {Terms} from "./Types.sol";

/// @notice What terms a channel may be opened under (rule 11).
///
/// | term              | least               | most     |
/// |-------------------|---------------------|----------|
/// | disputeWindow     | 1 h                 | 30 d     |
/// | cureWindow        | 1 h                 | 7 d      |
/// | settlementGrace   | oracle's grace + 2 d| 30 d     |
/// | maxPriceAge       | 60 s                | 1 d      |
/// | maxMarkAge        | 1 h                 | 14 d     |
/// | maxTenor          | 1 d                 | 10 years |
/// | maxInFlight       | 8                   | 64       |
/// | defaultPenaltyBps | 0                   | 5,000    |
library TermsBounds {
    /// @dev Reads every member narrower than a word, so that terms with dirty bits never open (see `Hashing`).
    function check(Terms calldata terms) internal view {
        (address a, address b, address signerA, address signerB) =
            (terms.partyA, terms.partyB, terms.signerA, terms.signerB);
        if (
            a == address(0) || b == address(0) || signerA == address(0) || signerB == address(0)
                || terms.collateral == address(0) || terms.oracle == address(0)
        ) revert Errors.ZeroAddress();
        // One address on both sides could file in the other's name: a dispute's filer is told from its sender.
        if (a == b || signerA == signerB || a == signerB || b == signerA) revert Errors.SidesNotDistinct();
        if (terms.unit == 0) revert Errors.ZeroUnit();
        if (terms.riskHash == 0) revert Errors.ZeroRiskHash();

        if (_outside(terms.disputeWindow, 1 hours, 30 days)) {
            revert Errors.DisputeWindowOutOfBounds(terms.disputeWindow);
        }
        if (_outside(terms.cureWindow, 1 hours, 7 days)) revert Errors.CureWindowOutOfBounds(terms.cureWindow);
        if (_outside(terms.maxPriceAge, 60, 1 days)) revert Errors.MaxPriceAgeOutOfBounds(terms.maxPriceAge);
        if (_outside(terms.maxMarkAge, 1 hours, 14 days)) revert Errors.MaxMarkAgeOutOfBounds(terms.maxMarkAge);
        if (_outside(terms.maxTenor, 1 days, 10 * 365 days)) revert Errors.MaxTenorOutOfBounds(terms.maxTenor);
        if (_outside(terms.maxInFlight, 8, 64)) revert Errors.MaxInFlightOutOfBounds(terms.maxInFlight);
        if (terms.defaultPenaltyBps > 5_000) revert Errors.DefaultPenaltyOutOfBounds(terms.defaultPenaltyBps);
        terms.stalePenalty; // any; read for its upper bits

        uint256 least = OracleReader.grace(terms.oracle) + 2 days;
        if (_outside(terms.settlementGrace, least, 30 days)) {
            revert Errors.SettlementGraceOutOfBounds(terms.settlementGrace, least);
        }
    }

    function _outside(uint256 value, uint256 least, uint256 most) private pure returns (bool) {
        return value < least || value > most;
    }
}
