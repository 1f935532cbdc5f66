"""What never moves and hides nobody: facades, pavements and the road, painted once per scene."""

import cv2
import numpy as np

from street.brush import shade
from street.layout import HEIGHT, MARGIN, WIDTH, pick

_DETAIL = 2
"""The backdrop is painted this many times larger per axis and then shrunk, which smooths its edges."""

# fmt: off
_WALLS = [(204, 164, 128), (222, 206, 174), (168, 110, 88), (156, 168, 160), (190, 176, 166), (214, 184, 132),
          (148, 154, 172), (196, 142, 118), (226, 218, 204)]
_AWNINGS = [(176, 62, 56), (58, 110, 92), (54, 86, 132), (214, 164, 70), (120, 74, 104)]
_PAVING = [(178, 172, 160), (168, 166, 166), (186, 176, 156)]
_ASPHALT = [(92, 94, 98), (104, 102, 100), (84, 88, 94)]
# fmt: on


def paint_backdrop(layout, rng):
    """BGR uint8 picture of (HEIGHT + 2 MARGIN, WIDTH + 2 MARGIN) pixels."""
    easel = _Easel()
    _paint_facades(easel, layout, rng)
    _paint_pavements(easel, layout, rng)
    _paint_road(easel, layout, rng)
    size = (WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN)
    picture = cv2.resize(easel.canvas, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    picture *= _light(layout, rng)[..., None]
    picture += _grain(rng, layout)[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


class _Easel:
    """Shapes in scene pixels on the enlarged canvas."""

    left, right, top, bottom = -MARGIN, WIDTH + MARGIN, -MARGIN, HEIGHT + MARGIN

    def __init__(self):
        self.canvas = np.zeros(((HEIGHT + 2 * MARGIN) * _DETAIL, (WIDTH + 2 * MARGIN) * _DETAIL, 3), np.uint8)

    def _fixed(self, points):
        return np.round((np.asarray(points, np.float64) + MARGIN) * _DETAIL * 16).astype(np.int32).reshape(-1, 1, 2)

    def polygon(self, points, colour):
        cv2.fillPoly(self.canvas, [self._fixed(points)], colour, cv2.LINE_AA, 4)

    def rectangle(self, x1, y1, x2, y2, colour):
        self.polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour)

    def line(self, start, end, colour, width=1.0):
        cv2.polylines(
            self.canvas, [self._fixed([start, end])], False, colour, max(1, round(width * _DETAIL)), cv2.LINE_AA, 4
        )


def _paint_facades(easel, layout, rng):
    x = float(easel.left)
    while x < easel.right:
        width = rng.uniform(80, 160)
        _paint_house(easel, layout, rng, x, x + width)
        x += width


def _paint_house(easel, layout, rng, left, right):
    wall = pick(rng, _WALLS)
    foot = layout.facade_foot
    shop_top = foot - 3.0 * layout.scale(foot)
    easel.rectangle(left, easel.top, right, foot, wall)
    easel.rectangle(right - 2, easel.top, right, foot, shade(wall, 0.7))
    easel.rectangle(left, shop_top - 5, right, shop_top - 1, shade(wall, 1.15))
    columns = int(rng.integers(3, 6))
    pitch = (right - left) / columns
    storey = 3.1 * layout.scale(foot)
    for row in range(1, 5):
        for column in range(columns):
            middle = left + (column + 0.5) * pitch
            _paint_window(easel, rng, wall, middle, shop_top - 9 - (row - 1) * storey, (0.46 * pitch, 0.62 * storey))
    _paint_shop(easel, rng, wall, (left + 5, shop_top, right - 5, foot))


def _paint_window(easel, rng, wall, middle, foot, size):
    width, height = size
    left, right, top = middle - width / 2, middle + width / 2, foot - height
    glass = shade((124, 110, 92), rng.uniform(0.65, 1.25))
    easel.rectangle(left - 2, top - 2, right + 2, foot + 2, shade(wall, 1.18))
    easel.rectangle(left, top, right, foot, glass)
    easel.polygon([(left, top), (right, top), (left, foot - 0.35 * height)], shade(glass, 1.25))
    easel.line((middle, top), (middle, foot), shade(wall, 1.2), 1)
    easel.rectangle(left - 3, foot + 1, right + 3, foot + 3, shade(wall, 0.72))
    if rng.random() < 0.25:
        easel.rectangle(left, foot - 3, right, foot + 1, (58, 120, 84))


def _paint_shop(easel, rng, wall, box):
    left, top, right, foot = box
    easel.rectangle(left, top, right, foot, shade(wall, 0.62))
    door = left + rng.uniform(0.1, 0.7) * (right - left)
    easel.rectangle(left + 3, top + 6, right - 3, foot - 7, (86, 76, 64))
    for _ in range(int(rng.integers(4, 9))):
        x = rng.uniform(left + 5, right - 12)
        easel.rectangle(x, foot - rng.uniform(14, 26), x + rng.uniform(4, 9), foot - 8, shade(pick(rng, _AWNINGS), 0.8))
    easel.polygon(
        [(left + 8, top + 6), (left + 26, top + 6), (left + 10, foot - 7), (left + 3, foot - 7)], (118, 106, 92)
    )
    easel.rectangle(door, top + 8, door + 15, foot, (58, 56, 62))
    easel.rectangle(door + 2, top + 11, door + 13, foot - 9, (104, 96, 84))
    if rng.random() < 0.7:
        _paint_awning(easel, pick(rng, _AWNINGS), left, right, top)


def _paint_awning(easel, colour, left, right, top):
    stripes = max(4, int((right - left) / 8))
    pitch = (right - left) / stripes
    for stripe in range(stripes):
        x = left + stripe * pitch
        tone = colour if stripe % 2 else (214, 222, 226)
        easel.polygon([(x, top), (x + pitch, top), (x + pitch, top + 11), (x, top + 11)], tone)
        easel.polygon([(x, top + 11), (x + pitch, top + 11), (x + pitch, top + 14), (x, top + 14)], shade(tone, 0.72))


def _paint_pavements(easel, layout, rng):
    paving = pick(rng, _PAVING)
    joint = shade(paving, 0.9)
    vanishing = (WIDTH / 2, layout.horizon - 220)
    for top, bottom in ((layout.facade_foot, layout.far_kerb), (layout.near_kerb, easel.bottom)):
        easel.rectangle(easel.left, top, easel.right, bottom, paving)
        y = top
        while y < bottom:
            easel.line((easel.left, y), (easel.right, y), joint, 0.6)
            y += 0.45 * layout.scale(y)
        for x in np.arange(-400, WIDTH + 400, 0.8 * layout.scale(bottom)):
            reach = (top - vanishing[1]) / (bottom - vanishing[1])
            easel.line((x, bottom), (vanishing[0] + (x - vanishing[0]) * reach, top), joint, 0.6)
    _paint_kerb(easel, layout.far_kerb, paving, 3.5)
    _paint_kerb(easel, layout.near_kerb, paving, -4.5)


def _paint_kerb(easel, y, paving, depth):
    easel.rectangle(easel.left, y, easel.right, y + depth, shade(paving, 0.72 if depth > 0 else 1.14))


def _paint_road(easel, layout, rng):
    asphalt = pick(rng, _ASPHALT)
    top, bottom = layout.far_kerb + 3.5, layout.near_kerb - 4.5
    easel.rectangle(easel.left, top, easel.right, bottom, asphalt)
    for _ in range(4):
        x, y, wide = rng.uniform(0, WIDTH), rng.uniform(top + 8, bottom - 14), rng.uniform(30, 90)
        easel.rectangle(x, y, x + wide, y + rng.uniform(5, 11), shade(asphalt, rng.uniform(0.88, 1.07)))
    paint = (206, 210, 210)
    far_bikes, near_bikes = layout.far_kerb + 0.2 * layout.road, layout.near_kerb - 0.16 * layout.road
    for y in (far_bikes, near_bikes):
        easel.line((easel.left, y), (easel.right, y), shade(asphalt, 1.55), 1.2)
    middle = layout.far_kerb + 0.5 * layout.road
    for x in range(int(easel.left), int(easel.right), 46):
        if not layout.zebra[0] - 40 < x < layout.zebra[1] + 12:
            easel.line((x, middle), (x + 24, middle), paint, 2)
    _paint_zebra(easel, layout, paint, (top, bottom))


def _paint_zebra(easel, layout, paint, band):
    """Bars run along the traffic, as drivers see them."""
    left, right = layout.zebra
    top, bottom = band
    bars = 8
    pitch = (bottom - top) / bars
    for bar in range(bars):
        y = top + (bar + 0.28) * pitch
        easel.polygon([(left + 4, y), (right - 4, y), (right - 4, y + 0.5 * pitch), (left + 4, y + 0.5 * pitch)], paint)


def _light(layout, rng):
    """Sunlight: a slope across the picture, and the shade of the facades; about 0.8 to 1.1."""
    height, width = HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    slope = rng.uniform(-0.08, 0.08)
    light = 1.02 + slope * (x / width - 0.5) + 0.08 * (y / height - 0.5)
    reach = layout.facade_foot + MARGIN
    light *= 1 - 0.14 * np.clip((reach + 14 - y) / 6, 0, 1) * (y > reach - 1)
    return light


def _grain(rng, layout):
    """Stains and grit of the ground; facades get less of it."""
    height, width = HEIGHT + 2 * MARGIN, WIDTH + 2 * MARGIN
    stains = cv2.resize(
        rng.standard_normal((26, 44)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    grit = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 0.7)
    ground = np.where(np.arange(height)[:, None] > layout.facade_foot + MARGIN, 1.0, 0.4)
    return (2.6 * stains + 6.0 * grit) * ground
