"""Anti-aliased drawing in metres: one thing becomes one sprite with an alpha channel and an exact outline."""

from dataclasses import dataclass

import cv2
import numpy as np

SUPERSAMPLING = 4
"""Sprites are drawn this many times larger per axis, so edges have 17 grey levels and outlines 0.25 px precision."""


@dataclass
class Sprite:
    """A drawn thing in picture pixels: premultiplied BGR and alpha (0..1), its top-left corner at `x`, `y`."""

    x: int
    y: int
    colour: np.ndarray
    alpha: np.ndarray
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 of the drawn pixels in picture coordinates, not clipped."""

    def overlap(self, width, height):
        """Slices (into the picture, into the sprite) where the two overlap, or None."""
        x1, y1 = max(self.x, 0), max(self.y, 0)
        x2 = min(self.x + self.alpha.shape[1], width)
        y2 = min(self.y + self.alpha.shape[0], height)
        if x1 >= x2 or y1 >= y2:
            return None
        return (
            (slice(y1, y2), slice(x1, x2)),
            (slice(y1 - self.y, y2 - self.y), slice(x1 - self.x, x2 - self.x)),
        )


@dataclass
class Placement:
    """Where a thing stands: ground point in scene pixels, pixels per metre, and where it faces (+1 right, -1 left)."""

    x: float
    y: float
    scale: float
    facing: int = 1


class Brush:
    """Draws shapes given in metres (u forward, v up from the ground point) onto a supersampled canvas.

    `camera` is the 2x3 affine map from scene pixels to picture pixels; `extent` is (u1, v1, u2, v2) in metres and must
    hold everything drawn.
    """

    def __init__(self, placement, camera, extent):
        self.placement = placement
        self.camera = camera
        u1, v1, u2, v2 = extent
        corners = self._picture_from_local([(u1, v1), (u2, v1), (u2, v2), (u1, v2)])
        low = np.floor(corners.min(axis=0)).astype(int) - 1
        size = np.ceil(corners.max(axis=0)).astype(int) + 1 - low
        self.origin = low
        self.size = size
        width, height = size * SUPERSAMPLING
        self.colour = np.zeros((height, width, 3), np.uint8)
        self.mask = np.zeros((height, width), np.uint8)

    def _picture_from_local(self, points):
        p = self.placement
        local = np.asarray(points, np.float64)
        scene = np.column_stack(
            [p.x + p.facing * p.scale * local[:, 0], p.y - p.scale * local[:, 1], np.ones(len(local))]
        )
        return scene @ self.camera.T

    def _canvas_from_local(self, points):
        """Fixed-point canvas coordinates with 4 fractional bits; OpenCV puts integers at pixel centres."""
        canvas = (self._picture_from_local(points) - self.origin) * SUPERSAMPLING - 0.5
        return np.round(canvas * 16).astype(np.int32).reshape(-1, 1, 2)

    def polygon(self, points, colour):
        """Fill a polygon."""
        fixed = [self._canvas_from_local(points)]
        cv2.fillPoly(self.colour, fixed, colour, shift=4)
        cv2.fillPoly(self.mask, fixed, 255, shift=4)

    def ellipse(self, centre, radii, colour):
        """Fill an axis-aligned ellipse."""
        self.polygon(_ellipse(centre, radii), colour)

    def stroke(self, points, width, colour):
        """A polyline `width` metres thick with round ends."""
        thickness = max(1, round(width * self.placement.scale * SUPERSAMPLING))
        fixed = [self._canvas_from_local(points)]
        cv2.polylines(self.colour, fixed, False, colour, thickness, shift=4)
        cv2.polylines(self.mask, fixed, False, 255, thickness, shift=4)

    def ring(self, centre, radius, width, colour):
        """A circle's outline, `width` metres thick."""
        outline = _ellipse(centre, (radius, radius))
        self.stroke(np.vstack([outline, outline[:1]]), width, colour)

    def sprite(self):
        """The drawing at picture resolution."""
        rows = np.flatnonzero(self.mask.any(axis=1))
        columns = np.flatnonzero(self.mask.any(axis=0))
        x, y = (int(value) for value in self.origin)
        box = (
            x + columns[0] / SUPERSAMPLING,
            y + rows[0] / SUPERSAMPLING,
            x + (columns[-1] + 1) / SUPERSAMPLING,
            y + (rows[-1] + 1) / SUPERSAMPLING,
        )
        size = tuple(int(value) for value in self.size)
        colour = cv2.resize(self.colour, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        alpha = cv2.resize(self.mask, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        return Sprite(x, y, colour, alpha, box)


def shade(colour, factor):
    """A lighter (factor > 1) or darker colour."""
    return tuple(int(min(255, max(0, channel * factor))) for channel in colour)


def _ellipse(centre, radii, corners=28):
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.column_stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)])
