"""Training and validation examples, drawn on the fly, degraded as cameras and codecs degrade pictures."""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from street.layout import HEIGHT, WIDTH
from street.scene import Scene, class_id

TRAINING_SEEDS = range(10_000, 20_000)
VALIDATION_SEEDS = range(1_000, 1_024)
"""Neither holds the seed of the clip that ships (see README.md); seeds below 1000 are for clips."""
CLIP_FRAMES = 300
PAD = 114
"""Grey around letterboxed pictures."""
MOST_OBJECTS = 48


def draw_pool(seeds, frames_per_scene, workers):
    """Pictures (N, HEIGHT, WIDTH, 3) BGR uint8, and objects (N, MOST_OBJECTS, 6): class or -1, corners, visible."""
    with tempfile.TemporaryDirectory() as cache, ProcessPoolExecutor(workers) as executor:
        draw = partial(_draw_scene, Path(cache), frames_per_scene)
        parts = [np.load(path) for path in executor.map(draw, seeds)]
        pictures = np.concatenate([part["pictures"] for part in parts])
        objects = np.concatenate([part["objects"] for part in parts])
    return pictures, objects


def _draw_scene(cache, frames, seed):
    cv2.setNumThreads(1)
    scene = Scene(seed, CLIP_FRAMES)
    numbers = np.random.default_rng([seed, 1]).choice(CLIP_FRAMES, frames, replace=False)
    pictures = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
    objects = np.full((frames, MOST_OBJECTS, 6), -1, np.float32)
    for slot, number in enumerate(numbers):
        pictures[slot], truths = scene.frame(int(number))
        for row, truth in enumerate(truths[:MOST_OBJECTS]):
            objects[slot, row] = (class_id(truth.kind), *truth.box, truth.visible)
    path = cache / f"{seed}.npz"
    np.savez(path, pictures=pictures, objects=objects)
    return path


def letterboxed(picture):
    """The 640x360 picture as the detector sees it: 640x384, RGB 0..1, channels first; and the offset of its top row."""
    top = (384 - HEIGHT) // 2
    boxed = cv2.copyMakeBorder(picture, top, top, 0, 0, cv2.BORDER_CONSTANT, value=(PAD, PAD, PAD))
    return _network_input(boxed), top


def _network_input(picture):
    return np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1), np.float32) / 255


class Cropper:
    """Cuts augmented training crops of `height` x `width` out of a pool."""

    def __init__(self, pool, height, width):
        self.pictures, self.objects = pool
        self.height, self.width = height, width

    def batch(self, size, rng):
        """Inputs (size, 3, height, width) and objects (size, MOST_OBJECTS, 6) in crop pixels."""
        crops = [self._crop(rng) for _ in range(size)]
        return np.stack([picture for picture, _ in crops]), np.stack([objects for _, objects in crops])

    def _crop(self, rng):
        index = int(rng.integers(len(self.pictures)))
        matrix = self._placement(rng)
        size = (self.width, self.height)
        picture = cv2.warpAffine(
            self.pictures[index],
            matrix,
            size,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(PAD,) * 3,
        )
        objects = self._transform(self.objects[index], matrix)
        return _network_input(degrade(picture, rng)), objects

    def _placement(self, rng):
        """Scale, mirror and shift, mostly inside the picture; outside is grey, as a letterbox would be."""
        scale = float(np.exp(rng.uniform(np.log(0.75), np.log(1.35)))) if rng.random() < 0.7 else 1.0
        slack_x = self.width - WIDTH * scale
        slack_y = self.height - HEIGHT * scale
        left = rng.uniform(min(slack_x, 0) - 16, max(slack_x, 0) + 16)
        top = rng.uniform(min(slack_y, 0) - 24, max(slack_y, 0) + 24)
        if scale == 1.0:
            left, top = round(left), round(top)
        if rng.random() < 0.5:
            return np.array([[-scale, 0, left + WIDTH * scale], [0, scale, top]])
        return np.array([[scale, 0, left], [0, scale, top]])

    def _transform(self, objects, matrix):
        """Boxes in crop pixels, clipped; what the crop cuts off counts as hidden."""
        moved = objects.copy()
        x = np.sort(objects[:, [1, 3]] * matrix[0, 0] + matrix[0, 2], axis=1)
        y = objects[:, [2, 4]] * matrix[1, 1] + matrix[1, 2]
        whole = (x[:, 1] - x[:, 0]) * (y[:, 1] - y[:, 0])
        x, y = np.clip(x, 0, self.width), np.clip(y, 0, self.height)
        part = (x[:, 1] - x[:, 0]) * (y[:, 1] - y[:, 0]) / np.maximum(whole, 1e-6)
        moved[:, [1, 3]], moved[:, [2, 4]] = x, y
        moved[:, 5] *= part
        moved[part <= 0, 0] = -1
        return moved


def degrade(picture, rng):
    """Brightness, contrast, colour, blur, noise and block artefacts, each sometimes."""
    if rng.random() < 0.6:
        gain, offset = rng.uniform(0.75, 1.25), rng.uniform(-18, 18)
        balance = gain * rng.uniform(0.95, 1.05, 3)
        picture = cv2.LUT(picture, np.clip(np.arange(256)[:, None] * balance + offset, 0, 255).astype(np.uint8)[None])
    if rng.random() < 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.1))
    if rng.random() < 0.15:
        noise = rng.standard_normal(picture.shape[:2], np.float32) * rng.uniform(1, 5)
        picture = np.clip(picture + noise[..., None], 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        return recompress(picture, int(rng.integers(35, 95)))
    return picture


def recompress(picture, quality):
    """JPEG's halved chroma, block transform and quantisation stand in for those of an H.264 keyframe."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)
