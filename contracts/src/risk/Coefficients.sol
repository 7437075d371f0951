// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice Constants of the integer engine, in Q96. Generated from coefficients.json; do not edit.
/// @dev `python tools/generate_coefficients.py` writes this file; a test compares the two.
library Coefficients {
    /// @notice SHA-256 of coefficients.json; shared test vectors carry it.
    bytes32 internal constant SOURCE_SHA256 = 0xb716cb7d2ef1e32017d92f1a037b924b5cd2abbef8f7e7abcb4b8565e662e5aa;

    uint256 internal constant LN2 = 54916777467707473351141471128;

    uint256 internal constant INV_SQRT_2PI = 31607463825455920808620519744;

    // R(u) = N(u)/D(u), Horner from the highest degree, all coefficients positive
    // on 0 <= u <= 16; error 3.0e-24

    uint256 internal constant MILLS_N0 = 99297776152657463636918570195;
    uint256 internal constant MILLS_N1 = 175393404700069884603877907717;
    uint256 internal constant MILLS_N2 = 154656337858333962331245551951;
    uint256 internal constant MILLS_N3 = 88388481284312515985641359540;
    uint256 internal constant MILLS_N4 = 36111943306167067075565413787;
    uint256 internal constant MILLS_N5 = 11048896409910281814215501780;
    uint256 internal constant MILLS_N6 = 2587864229916169026236339074;
    uint256 internal constant MILLS_N7 = 466889092238542325062614404;
    uint256 internal constant MILLS_N8 = 64397332692104420165304401;
    uint256 internal constant MILLS_N9 = 6630643123030402285285444;
    uint256 internal constant MILLS_N10 = 484980322304303902072198;
    uint256 internal constant MILLS_N11 = 22714461432667646197567;
    uint256 internal constant MILLS_N12 = 518255593272804687257;

    uint256 internal constant MILLS_D0 = 79228162514264337593543950336;
    uint256 internal constant MILLS_D1 = 203158617327746321747173821959;
    uint256 internal constant MILLS_D2 = 245880947110210448123804368351;
    uint256 internal constant MILLS_D3 = 186200749950819591564623530092;
    uint256 internal constant MILLS_D4 = 98568246470820081934041870532;
    uint256 internal constant MILLS_D5 = 38575822770813466780918904157;
    uint256 internal constant MILLS_D6 = 11502751456252618074777497356;
    uint256 internal constant MILLS_D7 = 2651296779570339763381187013;
    uint256 internal constant MILLS_D8 = 473474306648920224451752553;
    uint256 internal constant MILLS_D9 = 64881276496089770329190263;
    uint256 internal constant MILLS_D10 = 6653357584648606437003653;
    uint256 internal constant MILLS_D11 = 485498577894109292646843;
    uint256 internal constant MILLS_D12 = 22714461432709004927745;
    uint256 internal constant MILLS_D13 = 518255593272568678270;

    // ln((1+z)/(1-z)) = z * sum c_k z^(2k)
    // on ratio within [1/sqrt2, sqrt2] after taking out a power of two; error 1.0e-31

    uint256 internal constant LN_C0 = 158456325028528675187087900672;
    uint256 internal constant LN_C1 = 52818775009509558395695967134;
    uint256 internal constant LN_C2 = 31691265005705735037417043830;
    uint256 internal constant LN_C3 = 22636617861218382170049875058;
    uint256 internal constant LN_C4 = 17606258336503185920801528865;
    uint256 internal constant LN_C5 = 14405120457139027736276091688;
    uint256 internal constant LN_C6 = 12188948079107533332953264920;
    uint256 internal constant LN_C7 = 10563755003099763796066872163;
    uint256 internal constant LN_C8 = 9320960196482410008205586260;
    uint256 internal constant LN_C9 = 8339812371998957198986807887;
    uint256 internal constant LN_C10 = 7545302828711989129842914184;
    uint256 internal constant LN_C11 = 6896010673905200866495187918;
    uint256 internal constant LN_C12 = 6218456363331963864750831928;
    uint256 internal constant LN_C13 = 7125498819372032008389582576;

    // exp(r) = (E+O)/(E-O), E even part, O odd part, in Q96
    // on -ln(2)/2 <= r <= ln(2)/2; relative error 3.3e-27

    uint256 internal constant EXP_E0 = 41112951326842027241101677038036582400;
    uint256 internal constant EXP_E2 = 4796510988131569844795195654437601280;
    uint256 internal constant EXP_E4 = 65886139946862223142791149099417600;
    uint256 internal constant EXP_E6 = 199654969535946130735730754846720;
    uint256 internal constant EXP_E8 = 79228162514264337593543950336;

    uint256 internal constant EXP_O1 = 20556475663421013620550838519018291200;
    uint256 internal constant EXP_O3 = 685215855447367120685027950633943040;
    uint256 internal constant EXP_O5 = 4392409329790814876186076606627840;
    uint256 internal constant EXP_O7 = 5704427701027032306735164424192;
}
