"""Where the street's parts are. All positions are scene pixels: the picture before the camera shakes."""

from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 640, 360
MARGIN = 32
"""Scene pixels drawn beyond each edge of the picture, so that the shaking camera never shows nothing."""


@dataclass
class Layout:
    """Bands of the picture from top to bottom, the perspective, the crossing and the fixtures."""

    horizon: float
    metre: float
    facade_foot: float
    far_kerb: float
    near_kerb: float
    zebra: tuple[float, float]
    far_direction: int
    fixtures: list[tuple[str, float, float]]
    """(kind, x, ground y) of everything that stands still in front of somebody."""

    def scale(self, y):
        """Pixels per metre for something that stands at ground line `y`."""
        return (y - self.horizon) * self.metre

    @property
    def road(self):
        """Height of the road in pixels."""
        return self.near_kerb - self.far_kerb

    @property
    def lanes(self):
        """(kind, ground y, direction) of every lane, far to near; traffic keeps to one side of the road."""
        far, near = self.far_direction, -self.far_direction
        return [
            ("bicycle", self.far_kerb + 0.12 * self.road, far),
            ("car", self.far_kerb + 0.43 * self.road, far),
            ("car", self.far_kerb + 0.81 * self.road, near),
            ("bicycle", self.near_kerb - 0.03 * self.road, near),
        ]


def make_layout(rng):
    """A random street."""
    facade_foot = rng.uniform(104, 126)
    far_kerb = facade_foot + rng.uniform(28, 38)
    near_kerb = far_kerb + rng.uniform(102, 120)
    left = rng.uniform(170, 400)
    layout = Layout(
        horizon=rng.uniform(-80, -45),
        metre=rng.uniform(0.088, 0.108),
        facade_foot=facade_foot,
        far_kerb=far_kerb,
        near_kerb=near_kerb,
        zebra=(left, left + rng.uniform(62, 84)),
        far_direction=int(rng.choice([-1, 1])),
        fixtures=[],
    )
    layout.fixtures = _place_fixtures(layout, rng)
    return layout


def _place_fixtures(layout, rng):
    """Things at the far kerb hide far walkers, things at the near kerb hide traffic; a near tree frames one corner."""
    placed = []
    far, near = layout.far_kerb - 4, layout.near_kerb + 6
    for kind, count, y in [
        ("kiosk", 1, far),
        ("column", int(rng.integers(0, 2)), far),
        ("sapling", int(rng.integers(2, 4)), far),
        ("lamp", 2, near),
        ("bollard", int(rng.integers(0, 4)), near),
    ]:
        for _ in range(count):
            x = _free_place(layout, rng, y, placed)
            if x is not None:
                placed.append((kind, x, y))
    corner = rng.uniform(-12, 22)
    placed.append(("tree", corner if rng.random() < 0.5 else WIDTH - corner, HEIGHT - rng.uniform(2, 12)))
    return sorted(placed, key=lambda fixture: fixture[2])


def _free_place(layout, rng, y, placed):
    """An x clear of the crossing and of what already stands in the same row; None when the row is full."""
    for _ in range(30):
        x = rng.uniform(20, WIDTH - 20)
        on_zebra = layout.zebra[0] - 35 < x < layout.zebra[1] + 35
        if not on_zebra and all(abs(x - other) > 55 for _, other, row in placed if row == y):
            return float(x)
    return None


def pick(rng, palette):
    """One colour of a palette of RGB triples, as BGR."""
    red, green, blue = palette[int(rng.integers(len(palette)))]
    return (blue, green, red)


def vary(rng, colour, amount=0.1):
    """The colour a little brighter or darker."""
    return tuple(int(np.clip(channel * rng.uniform(1 - amount, 1 + amount), 0, 255)) for channel in colour)
