// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Status} from "../../src/interfaces/IOracle.sol";
import {ChannelView, Party, Phase, Portfolio, Position, Spot, State, Terms} from "../../src/libraries/Types.sol";
import {ChannelTest} from "../utils/ChannelTest.sol";
import {FakeOracle} from "../utils/FakeOracle.sol";

/// @notice Random calls in any order on three channels of one token, with an oracle that fails now and then. Keeps a
/// model beside the contract: what each channel was paid in, the newest nonce it took, what it recorded.
contract Actor is ChannelTest {
    uint256 public constant CHANNELS = 3;
    uint64 private constant FIRST = EXPIRY;

    struct Model {
        Terms terms;
        bytes32 id;
        bool opened;
        uint256 paidIn;
        uint256 paidOut;
        uint64 newest;
        uint256 deadline;
        Portfolio portfolio; // what the contract should have recorded
    }

    Model[3] private _models;
    bool public broken;
    string public why;
    uint256 public disputes;

    constructor() {
        setUp();
        for (uint256 i; i < CHANNELS; ++i) {
            Terms memory terms = defaultTerms();
            terms.salt = bytes32(i);
            if (i == 2) terms.unit = 1e18; // payoffs far beyond the pot
            _models[i].terms = terms;
            _models[i].id = adjudicator.channelId(terms);
        }
    }

    // ---- actions

    function open(uint256 which, uint128 a, uint128 b) external {
        Model storage m = _models[which % CHANNELS];
        (a, b) = (uint128(bound(a, 0, 1_000e6)), uint128(bound(b, 0, 1_000e6)));
        if (!attempt(openData(m.terms, a, b), stranger)) return;
        if (m.opened) fail("an id used twice");
        m.opened = true;
        m.paidIn = uint256(a) + b;
    }

    function deposit(uint256 which, bool toA, uint128 amount) external {
        Model storage m = _models[which % CHANNELS];
        amount = uint128(bound(amount, 1, 100e6));
        if (attempt(depositData(m.terms, toA ? Party.A : Party.B, amount), stranger)) m.paidIn += amount;
    }

    function checkpoint(uint256 which, uint64 nonce, uint256 seed) external {
        Model storage m = _models[which % CHANNELS];
        nonce = near(m, nonce);
        State memory state = stateOf(m.terms, nonce, box(seed), portfolioOf(seed));
        vm.prank(stranger);
        (bool success, bytes memory result) = address(adjudicator).call(checkpointData(m.terms, state));
        if (!success) fail("a good signature refused");
        else if (abi.decode(result, (bool))) took(m, state);
    }

    function dispute(uint256 which, uint64 nonce, uint256 seed, bool withState) external {
        Model storage m = _models[which % CHANNELS];
        nonce = near(m, nonce);
        State memory state = stateOf(m.terms, nonce, box(seed), portfolioOf(seed));
        bool first = adjudicator.phaseNow(m.id) == Phase.Open;
        address caller = seed & 1 == 0 ? partyA : signerB;
        vm.prank(caller);
        (bool success, bytes memory result) =
            address(adjudicator).call(withState ? disputeData(m.terms, state) : disputeData(m.terms));
        if (!success) return;
        if (withState && abi.decode(result, (bool))) took(m, state);
        if (first) {
            ++disputes;
            m.deadline = block.timestamp + m.terms.disputeWindow;
        }
    }

    function settle(uint256 which) external {
        Model storage m = _models[which % CHANNELS];
        uint256 held = token.balanceOf(address(adjudicator));
        if (!attempt(settleData(m.terms, m.portfolio), stranger)) {
            if (adjudicator.phaseNow(m.id) == Phase.RunOff) fail("settle blocked in run-off");
            return;
        }
        if (block.timestamp < m.deadline) fail("settled before the deadline");
        m.paidOut += held - token.balanceOf(address(adjudicator));
        follow(m);
    }

    function close(uint256 which, uint64 nonce, int128 net) external {
        Model storage m = _models[which % CHANNELS];
        nonce = near(m, nonce);
        uint256 held = token.balanceOf(address(adjudicator));
        if (!attempt(closeData(m.terms, nonce, int128(bound(int256(net), -2_000e6, 2_000e6))), stranger)) return;
        if (nonce <= m.newest) fail("closed by an older nonce");
        m.paidOut += held - token.balanceOf(address(adjudicator));
    }

    function pass(uint32 time) external {
        vm.warp(block.timestamp + time % 6 days);
    }

    function setOracle(uint8 fault, uint8 hour, uint8 status, uint256 price) external {
        oracle.setFault(FakeOracle.Fault(fault % 2 == 0 ? 0 : fault % 7));
        uint64 time = FIRST + uint64(hour % 4) * 1 days;
        (Status said,) = oracle.answers(ETH, time);
        if (said == Status.Unset && time <= block.timestamp) {
            oracle.set(ETH, time, Status(status % 4), bound(price, 0, 10_000e18));
        }
    }

    // ---- the model

    /// @dev A nonce from a few below the newest to many above, the newest itself not seldom.
    function near(Model storage m, uint64 nonce) private view returns (uint64) {
        uint64 below = m.newest < 3 ? m.newest : 3;
        return m.newest - below + nonce % (nonce % 5 == 0 ? 40 : 8);
    }

    function took(Model storage m, State memory state) private {
        if (state.nonce <= m.newest) fail("an older state recorded");
        if (state.validUntil != 0 && state.validUntil < block.timestamp) fail("recorded out of its box");
        if (m.deadline != 0 && block.timestamp >= m.deadline) fail("recorded after the deadline");
        m.newest = state.nonce;
        store(m, state.portfolio);
    }

    /// @dev The portfolio after a settlement, from the law of rule 8 and the payoffs alone.
    function follow(Model storage m) private {
        Portfolio memory left = m.portfolio;
        Position[] memory positions = left.positions;
        uint256 kept;
        for (uint256 i; i < positions.length; ++i) {
            Position memory p = positions[i];
            (bool now_, uint256 price) = priceOf(m.terms, left, p);
            if (!now_) {
                positions[kept++] = p;
                continue;
            }
            if (price == 0) continue;
            int256 payoff = harness.payoff(p.kind, p.strike, p.quantity, uint128(price), m.terms.unit);
            left.netToB -= int128(payoff); // far from saturating here
        }
        assembly {
            mstore(positions, kept)
        }
        store(m, left);
    }

    function priceOf(Terms memory terms, Portfolio memory portfolio, Position memory p)
        private
        view
        returns (bool, uint256)
    {
        if (p.expiry > block.timestamp) return (false, 0);
        (Status status, uint256 price) = oracle.answers(ETH, p.expiry);
        FakeOracle.Fault fault = oracle.fault();
        bool failing = fault != FakeOracle.Fault.None || (price == 0 && status != Status.Never);
        if (failing) status = Status.Unset;
        if (status == Status.Known) return (true, price);
        uint256 graceEnd = p.expiry + terms.settlementGrace;
        if (block.timestamp < graceEnd) return (false, 0);
        if (status == Status.LastResort) return (true, price);
        if (status == Status.Never || block.timestamp >= graceEnd + 30 days) {
            return (true, portfolio.spots.length == 0 ? 0 : portfolio.spots[0].price);
        }
        return (false, 0);
    }

    function store(Model storage m, Portfolio memory portfolio) private {
        m.portfolio.netToB = portfolio.netToB;
        m.portfolio.marginA = portfolio.marginA;
        m.portfolio.markedAt = portfolio.markedAt;
        delete m.portfolio.spots;
        delete m.portfolio.positions;
        for (uint256 i; i < portfolio.spots.length; ++i) {
            m.portfolio.spots.push(portfolio.spots[i]);
        }
        for (uint256 i; i < portfolio.positions.length; ++i) {
            m.portfolio.positions.push(portfolio.positions[i]);
        }
    }

    function portfolioOf(uint256 seed) private pure returns (Portfolio memory portfolio) {
        portfolio.netToB = int128(bound(int256(int64(uint64(seed))), -3_000e6, 3_000e6));
        portfolio.marginA = uint64(seed >> 64);
        portfolio.markedAt = uint64(seed >> 128);
        uint256 count = seed % 4;
        if (count == 0) return portfolio;
        portfolio.spots = new Spot[]((seed >> 9) % 2);
        if (portfolio.spots.length == 1) portfolio.spots[0] = Spot(ETH, uint128(seed >> 10) % 9_000e18);
        portfolio.positions = new Position[](count);
        for (uint256 i; i < count; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            portfolio.positions[i] = Position({
                feed: ETH,
                kind: uint8(word % 6),
                expiry: FIRST + uint64((word >> 8) % 4) * 1 days,
                strike: uint128(word >> 16) % 9_000e18,
                quantity: int128(int256((word >> 144) % 20e18)) - 10e18,
                vol: uint64(word >> 16),
                carry: 0
            });
        }
    }

    function box(uint256 seed) private view returns (uint64) {
        if (seed % 3 == 0) return 0;
        return uint64(seed % 3 == 1 ? block.timestamp + 120 : block.timestamp - 1);
    }

    function attempt(bytes memory data, address sender) private returns (bool success) {
        vm.prank(sender);
        (success,) = address(adjudicator).call(data);
    }

    function fail(string memory reason) private {
        (broken, why) = (true, reason);
    }

    // ---- the laws

    function check() external view {
        vm.assertTrue(!broken, why);
        uint256 owed;
        for (uint256 i; i < CHANNELS; ++i) {
            Model storage m = _models[i];
            ChannelView memory view_ = adjudicator.channel(m.id);
            uint256 pot = uint256(int256(view_.contributionA) + view_.contributionB);
            owed += pot;
            // Isolation and conservation, channel by channel.
            vm.assertEq(m.paidIn, m.paidOut + pot, "in = out + held");
            if (view_.phase == Phase.Closed) {
                vm.assertEq(view_.nonce, 0);
                continue;
            }
            vm.assertEq(view_.nonce, m.newest, "newest wins");
            vm.assertEq(view_.deadline, m.deadline, "the window is fixed");
            if (m.newest == 0) vm.assertEq(view_.portfolioHash, bytes32(0), "nothing recorded");
            else vm.assertEq(view_.portfolioHash, harness.hashPortfolio(m.portfolio), "recorded portfolio");
            (uint256 a, uint256 b) = adjudicator.cash(m.id, m.portfolio.netToB);
            vm.assertEq(a + b, pot, "cash adds up");
        }
        vm.assertEq(token.balanceOf(address(adjudicator)), owed, "holds what it owes");
        vm.assertEq(adjudicator.disputeCount(), disputes, "no dispute uncounted");
    }
}

/// @notice Rules 1 (conservation, isolation), 2 (newest wins) and 3 (run-off is never blocked), under random calls.
contract ConservationInvariant {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Actor private actor;

    function setUp() public {
        actor = new Actor();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actor);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        bytes4[] memory selectors = new bytes4[](10);
        selectors[0] = bytes4(keccak256("open(uint256,uint128,uint128)"));
        selectors[1] = bytes4(keccak256("deposit(uint256,bool,uint128)"));
        selectors[2] = bytes4(keccak256("checkpoint(uint256,uint64,uint256)"));
        selectors[3] = bytes4(keccak256("dispute(uint256,uint64,uint256,bool)"));
        selectors[4] = selectors[5] = bytes4(keccak256("settle(uint256)"));
        selectors[6] = bytes4(keccak256("close(uint256,uint64,int128)"));
        selectors[7] = selectors[8] = bytes4(keccak256("pass(uint32)"));
        selectors[9] = bytes4(keccak256("setOracle(uint8,uint8,uint8,uint256)"));
        targets[0] = FuzzSelector(address(actor), selectors);
    }

    /// forge-config: default.invariant.depth = 256
    function invariant_conservation_newestWins_isolation() public view {
        actor.check();
    }
}
