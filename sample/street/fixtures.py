"""Things that stand still and hide what passes behind them: kiosk, poster column, trees, lamps, bollards."""

import numpy as np

from street.brush import shade
from street.layout import pick

# fmt: off
EXTENTS = {
    "kiosk": (-1.3, -0.2, 1.3, 3.4),
    "column": (-0.9, -0.2, 0.9, 3.4),
    "sapling": (-1.9, -0.2, 1.9, 5.2),
    "tree": (-2.8, -0.3, 2.8, 6.6),
    "lamp": (-0.6, -0.2, 1.6, 5.6),
    "bollard": (-0.3, -0.2, 0.3, 1.2),
}
"""(u1, v1, u2, v2) in metres that hold each fixture."""

_LEAVES = [(74, 120, 62), (96, 138, 66), (62, 104, 72), (120, 146, 70), (160, 134, 62)]
_KIOSK = [(46, 92, 84), (124, 52, 48), (52, 74, 116), (176, 134, 64)]
_POSTERS = [(232, 196, 84), (206, 84, 70), (84, 146, 176), (236, 228, 208), (122, 160, 96), (178, 110, 150)]
_BARK = (52, 68, 88)
_IRON = (62, 66, 60)
# fmt: on


def draw_fixture(brush, kind, rng):
    """Draw a fixture; `rng` decides colours and the shape of foliage."""
    _DRAW[kind](brush, rng)


def _kiosk(brush, rng):
    colour = pick(rng, _KIOSK)
    brush.polygon([(-0.9, 0), (0.9, 0), (0.9, 2.4), (-0.9, 2.4)], colour)
    brush.polygon([(-0.9, 0), (-0.9, 2.4), (-0.72, 2.4), (-0.72, 0)], shade(colour, 0.75))
    brush.polygon([(-0.62, 1.0), (0.62, 1.0), (0.62, 2.1), (-0.62, 2.1)], (70, 60, 52))
    for row in range(3):
        for slot in range(5):
            u, v = -0.55 + 0.225 * slot, 1.08 + 0.33 * row
            brush.polygon([(u, v), (u + 0.17, v), (u + 0.17, v + 0.25), (u, v + 0.25)], pick(rng, _POSTERS))
    for stripe in range(8):
        u = -1.1 + 0.275 * stripe
        tone = (226, 232, 236) if stripe % 2 else shade(colour, 1.25)
        brush.polygon([(u, 2.25), (u + 0.275, 2.25), (u + 0.24, 2.75), (u + 0.03, 2.75)], tone)
    brush.polygon([(-1.05, 2.7), (1.05, 2.7), (0.85, 3.2), (-0.85, 3.2)], shade(colour, 0.85))
    brush.polygon([(-0.72, 0.15), (0.82, 0.15), (0.82, 0.85), (-0.72, 0.85)], shade(colour, 1.15))


def _column(brush, rng):
    brush.polygon([(-0.62, 0), (0.62, 0), (0.62, 0.3), (-0.62, 0.3)], shade(_IRON, 1.1))
    brush.polygon([(-0.55, 0.3), (0.55, 0.3), (0.55, 2.6), (-0.55, 2.6)], (196, 206, 206))
    for row in range(3):
        for slot, (left, right) in enumerate(((-0.52, -0.14), (-0.1, 0.3), (0.33, 0.53))):
            colour = shade(pick(rng, _POSTERS), (0.78, 1.0, 0.88)[slot])
            bottom = 0.4 + 0.73 * row
            brush.polygon([(left, bottom), (right, bottom), (right, bottom + 0.66), (left, bottom + 0.66)], colour)
            brush.stroke([(left + 0.06, bottom + 0.45), (right - 0.06, bottom + 0.45)], 0.06, shade(colour, 0.55))
    brush.polygon([(-0.68, 2.6), (0.68, 2.6), (0.5, 2.85), (-0.5, 2.85)], (70, 92, 64))
    brush.ellipse((0, 2.85), (0.5, 0.32), (80, 104, 74))
    brush.ellipse((0, 3.18), (0.09, 0.12), (90, 116, 84))


def _sapling(brush, rng):
    _trunk(brush, 0.09, 2.6)
    _foliage(brush, rng, (0, 3.6), (1.25, 1.1), 42)


def _tree(brush, rng):
    _trunk(brush, 0.2, 3.4)
    _foliage(brush, rng, (0, 4.6), (1.7, 1.4), 90)


def _trunk(brush, half, height):
    brush.polygon([(-half * 1.5, 0), (half * 1.5, 0), (half * 0.8, height), (-half * 0.8, height)], _BARK)
    brush.polygon([(half * 0.3, 0), (half * 1.5, 0), (half * 0.8, height), (half * 0.2, height)], shade(_BARK, 1.3))


def _foliage(brush, rng, centre, radii, clumps):
    """Overlapping clumps, dark and low first, light and high last, as if lit from above."""
    leaf = pick(rng, _LEAVES)
    angle = rng.uniform(0, 2 * np.pi, clumps)
    distance = np.sqrt(rng.uniform(0, 1, clumps))
    spots = np.column_stack([radii[0] * distance * np.cos(angle), radii[1] * distance * np.sin(angle)])
    for u, v in spots[np.argsort(spots[:, 1])]:
        tone = 0.8 + 0.32 * v / radii[1] + rng.uniform(-0.12, 0.12) - 0.05 * u / radii[0]
        size = radii[0] * rng.uniform(0.16, 0.34)
        brush.ellipse((centre[0] + u, centre[1] + v), (size, size * 0.8), shade(leaf, tone))


def _lamp(brush, _rng):
    brush.polygon([(-0.14, 0), (0.14, 0), (0.1, 0.5), (-0.1, 0.5)], shade(_IRON, 0.8))
    brush.polygon([(-0.07, 0.4), (0.07, 0.4), (0.05, 4.9), (-0.05, 4.9)], _IRON)
    brush.stroke([(0, 4.85), (0.25, 5.15), (0.9, 5.2)], 0.08, _IRON)
    brush.polygon([(0.7, 5.26), (1.4, 5.26), (1.32, 5.1), (0.78, 5.1)], shade(_IRON, 0.8))
    brush.polygon([(0.82, 5.1), (1.28, 5.1), (1.2, 5.02), (0.9, 5.02)], (206, 240, 252))


def _bollard(brush, _rng):
    brush.polygon([(-0.1, 0), (0.1, 0), (0.08, 0.8), (-0.08, 0.8)], (60, 58, 56))
    brush.polygon([(-0.09, 0.55), (0.09, 0.55), (0.085, 0.68), (-0.085, 0.68)], (220, 226, 230))
    brush.ellipse((0, 0.82), (0.11, 0.1), (70, 68, 66))


_DRAW = {"kiosk": _kiosk, "column": _column, "sapling": _sapling, "tree": _tree, "lamp": _lamp, "bollard": _bollard}
