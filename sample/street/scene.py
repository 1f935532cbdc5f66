"""One street from one seed: frames and the truth about them."""

from dataclasses import dataclass

import cv2
import numpy as np

from street.backdrop import paint_backdrop
from street.brush import Brush, Placement
from street.figures import CLASSES, DRAW
from street.figures import EXTENTS as FIGURE_EXTENTS
from street.fixtures import EXTENTS as FIXTURE_EXTENTS
from street.fixtures import draw_fixture
from street.layout import HEIGHT, MARGIN, WIDTH, make_layout
from street.traffic import FPS, simulate


@dataclass
class Truth:
    """One object in one frame.

    `box` is amodal: the extent of all the object's drawn pixels, seen or hidden, clipped to the picture (x1, y1, x2, y2
    in pixels, camera shake included). `visible` is the share of those pixels that can be seen: what is behind something
    else or beyond the picture's edge cannot.
    """

    actor: int
    kind: str
    box: tuple[float, float, float, float]
    visible: float


class Scene:
    """Everything that `seed` decides about a street of `frames` frames, which can be drawn in any order."""

    def __init__(self, seed, frames):
        self.seed = seed
        rng = np.random.default_rng(seed)
        self.layout = make_layout(rng)
        self.backdrop = paint_backdrop(self.layout, rng)
        self.actors = simulate(self.layout, frames, rng)
        self.camera = _Camera(rng)
        self.noise = rng.uniform(1.0, 2.4)
        self.tint = 1 + rng.uniform(-0.04, 0.04, 3) * (1, 0.3, -1)
        self.exposure = rng.uniform(0.92, 1.06)

    def frame(self, number):
        """(BGR uint8 picture of HEIGHT x WIDTH, list of `Truth`)."""
        camera = self.camera.matrix(number)
        shift = np.array([[1, 0, -MARGIN], [0, 1, -MARGIN], [0, 0, 1]], np.float64)
        picture = cv2.warpAffine(self.backdrop, camera @ shift, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR).astype(
            np.float32
        )
        present = [(index, actor.poses[number]) for index, actor in enumerate(self.actors) if number in actor.poses]
        picture *= self._shadows(present, camera)[..., None]
        owner, sprites = self._compose(picture, present, camera)
        return self._expose(picture, number), _measure(owner, sprites, self.actors)

    def _shadows(self, present, camera):
        """Soft contact shadows of everything that stands on the ground, as a factor per pixel."""
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        spots = [(pose.x, pose.y, _SHADOW_M[self.actors[index].kind]) for index, pose in present]
        spots += [(x, y, _SHADOW_M[kind]) for kind, x, y in self.layout.fixtures]
        for x, y, half in spots:
            scale = self.layout.scale(y)
            centre = camera @ (x + 0.12 * half * scale, y - 0.1 * scale, 1)
            axes = (half * scale, (0.16 + 0.1 * half) * scale)
            cv2.ellipse(mask, (tuple(centre), tuple(2 * np.array(axes)), 0.0), 1.0, -1, cv2.LINE_AA)
        return 1 - 0.42 * cv2.GaussianBlur(mask, (0, 0), 2.0)

    def _compose(self, picture, present, camera):
        """Paint far things first. Returns who owns each pixel (-1 nobody, -2 a fixture) and every actor's sprite."""
        owner = np.full((HEIGHT, WIDTH), -1, np.int32)
        things = [(pose.y, index, self._draw_actor(index, pose, camera)) for index, pose in present]
        things += [
            (y, -2, self._draw_fixture(number, kind, x, y, camera))
            for number, (kind, x, y) in enumerate(self.layout.fixtures)
        ]
        sprites = {}
        for _, index, sprite in sorted(things, key=lambda thing: thing[:2]):
            if index >= 0:
                sprites[index] = sprite
            overlap = sprite.overlap(WIDTH, HEIGHT)
            if overlap:
                here, there = overlap
                alpha = sprite.alpha[there]
                picture[here] = picture[here] * (1 - alpha[..., None]) + sprite.colour[there]
                owner[here][alpha >= 0.5] = index
        return owner, sprites

    def _draw_actor(self, index, pose, camera):
        actor = self.actors[index]
        placement = Placement(pose.x, pose.y, self.layout.scale(pose.y), pose.facing)
        brush = Brush(placement, camera, FIGURE_EXTENTS[actor.kind])
        DRAW[actor.kind](brush, actor.look, pose.metres, pose.sideways)
        return brush.sprite()

    def _draw_fixture(self, number, kind, x, y, camera):
        facing = 1 if x < WIDTH / 2 else -1
        brush = Brush(Placement(x, y, self.layout.scale(y), facing), camera, FIXTURE_EXTENTS[kind])
        draw_fixture(brush, kind, np.random.default_rng([self.seed, number]))
        return brush.sprite()

    def _expose(self, picture, number):
        """Exposure that breathes, white balance, and sensor noise."""
        rng = np.random.default_rng([self.seed, 1_000_000 + number])
        gain = self.exposure * (1 + 0.025 * np.sin(2 * np.pi * number / (FPS * 5.3) + self.seed))
        noise = rng.standard_normal((HEIGHT, WIDTH, 1), np.float32) * self.noise
        return np.clip(picture * (gain * self.tint).astype(np.float32) + noise, 0, 255).astype(np.uint8)


_SHADOW_M = {
    "person": 0.34,
    "car": 2.2,
    "bicycle": 0.75,
    "kiosk": 1.0,
    "column": 0.7,
    "sapling": 0.3,
    "tree": 0.5,
    "lamp": 0.25,
    "bollard": 0.18,
}
"""Half-widths of contact shadows in metres."""


def _measure(owner, sprites, actors):
    truths = []
    for index, sprite in sorted(sprites.items()):
        x1, y1, x2, y2 = sprite.box
        box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(WIDTH)), min(y2, float(HEIGHT)))
        if box[2] - box[0] < 1 or box[3] - box[1] < 1:
            continue
        total = np.count_nonzero(sprite.alpha >= 0.5)
        seen = np.count_nonzero(owner == index)
        truths.append(Truth(index, actors[index].kind, box, seen / total))
    return truths


class _Camera:
    """A camera on a pole in the wind: slow sway, a faster tremble, and a gust now and then that dies away."""

    def __init__(self, rng):
        self.sway = rng.uniform(0.5, 1.4)
        self.hertz = rng.uniform([0.25, 0.7, 2.2], [0.5, 1.3, 3.4], (3, 3))
        self.phase = rng.uniform(0, 2 * np.pi, (3, 3))
        self.gusts = np.cumsum(rng.uniform(2.5, 6.0, 40))

    def matrix(self, number):
        """The 2x3 affine map from scene pixels to picture pixels."""
        seconds = number / FPS
        waves = np.sin(2 * np.pi * self.hertz * seconds + self.phase) @ (1.0, 0.6, 0.25)
        since = seconds - self.gusts[self.gusts <= seconds]
        gust = float(np.sum(2.2 * np.exp(-3.5 * since) * np.sin(2 * np.pi * 2.4 * since)))
        dx, dy = self.sway * waves[0] + gust, 0.7 * self.sway * waves[1] + 0.6 * gust
        matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0.12 * self.sway * waves[2], 1 + 0.0012 * waves[1])
        matrix[:, 2] += (dx, dy)
        return matrix


def class_id(kind):
    """The detector's class id of a kind of object."""
    return CLASSES.index(kind)
