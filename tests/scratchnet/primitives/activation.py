"""Nonlinearities."""

import numpy as np

from scratchnet.ops import activation as act
from scratchnet.ops import elementwise as ew
from tests.scratchnet.primitives.contract import case, normal, off_the_kink

SIZES = {"matrix": (4, 3), "scalar": ()}

SMOOTH = [
    case(op, normal(*size) * 2, name=name, oracle="central")
    for op in (act.gelu, act.gelu_tanh, act.silu, act.mish, act.log_sigmoid, act.normal_cdf)
    for name, size in SIZES.items()
] + [
    case(op, np.array([-9.0, -1.0, 0.4, 1.4, 1.6, 9.0]), oracle="central", beta=2.0, threshold=3.0)
    for op in (act.softplus, act.softplus_slope)
]
EXPONENTIAL = [
    case(
        op, off_the_kink(*size), name=f"{name} {alpha}", oracle="central", alpha=alpha, rate=rate, factor=1.5
    )
    for op in (act.elu, act.elu_slope)
    for alpha, rate in ((0.5, 2.0), (1.7, 1.0))
    for name, size in SIZES.items()
]
IN_PIECES = [
    made
    for name, size in SIZES.items()
    for made in (
        case(act.leaky_relu, off_the_kink(*size), name=name, oracle="central", slope=0.1),
        case(act.leaky_relu, off_the_kink(*size), name=f"{name} steep", oracle="central", slope=2.0),
        case(act.hardtanh, off_the_kink(*size), name=name, oracle="central", low=-0.4, high=0.3),
        case(act.hardtanh, off_the_kink(*size), name=f"{name} wide", oracle="central", low=-9.0, high=9.0),
        case(act.hardswish, off_the_kink(*size) * 2, name=name, oracle="central"),
        case(act.prelu, off_the_kink(*size), np.full(1, 0.2), name=name, oracle="central"),
    )
] + [case(act.prelu, off_the_kink(2, 3, 4), normal(3, 1), name="channels", oracle="central")]
OTHERS = [
    case(act.glu, normal(3, 4), name="last", oracle="central", dim=-1),
    case(act.glu, normal(2, 6, 2), name="middle", oracle="central", dim=1),
    case(ew.scale, normal(2, 3), name="same", factor=normal(2, 3)),
    case(ew.scale, normal(2, 3, 2), name="channels", factor=normal(3, 1)),
]

CASES = SMOOTH + EXPONENTIAL + IN_PIECES + OTHERS
