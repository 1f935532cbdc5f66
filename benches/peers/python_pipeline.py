#!/usr/bin/env python3
"""Detects and tracks in a video the straightforward way: PyAV, OpenCV, ONNX Runtime, NumPy, ByteTrack from PyPI.

    python_pipeline.py VIDEO MODEL [--confidence 0.1] [--iou 0.6] [--settings NAME] [--out rows.csv]
    python_pipeline.py VIDEO MODEL --compare [FRAMES]

MODEL is a YOLOX as its own exporter leaves it, with boxes on the grid. Prints one line of JSON. `--compare` tries every
setting on the first FRAMES frames and prints how fast each was.
"""

import argparse
import csv
import itertools
import json
import os
import resource
import time

import av
import cv2
import numpy as np
import onnxruntime
import supervision
import trackers

GREY = 114
# Threads of an operation (0: as many as cores), whether they spin while they wait, and whether PyAV decodes ahead.
# `default` is what comes of saying nothing.
SETTINGS = {
    "default": (0, True, False),
    "decode ahead": (0, True, True),
    "no spinning": (0, False, False),
    "no spinning, decode ahead": (0, False, True),
    "one thread, decode ahead": (1, True, True),
}


class Yolox:
    def __init__(self, path, settings):
        threads, spinning, _ = settings
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if not spinning:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name
        self.height, self.width = self.session.get_inputs()[0].shape[2:]
        self.grid, self.strides = places(self.width, self.height)

    def detect(self, image, confidence, iou):
        """Corners in pixels of the picture, scores and class ids."""
        tensor, ratio = self.letterbox(image)
        output = self.session.run(None, {self.input: tensor})[0][0]
        scores = output[:, 4:5] * output[:, 5:]
        classes = scores.argmax(axis=1)
        scores = scores.max(axis=1)
        keep = scores >= confidence
        output, scores, classes = output[keep], scores[keep], classes[keep]
        centre = (output[:, :2] + self.grid[keep]) * self.strides[keep]
        half = np.exp(output[:, 2:4]) * self.strides[keep] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1) / ratio
        kept = suppress(boxes, scores, classes, iou)
        limit = np.array([image.shape[1], image.shape[0]] * 2)
        return boxes[kept].clip(0, limit), scores[kept], classes[kept]

    def letterbox(self, image):
        ratio = min(self.height / image.shape[0], self.width / image.shape[1])
        width, height = int(image.shape[1] * ratio), int(image.shape[0] * ratio)
        canvas = np.full((self.height, self.width, 3), GREY, np.uint8)
        canvas[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32), ratio


def places(width, height):
    """For every row of the output: its column and row on the grid, and the grid's stride."""
    grids, strides = [], []
    for stride in (8, 16, 32):
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        grids.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(grids).astype(np.float32), np.concatenate(strides).astype(np.float32)


def suppress(boxes, scores, classes, iou):
    """Indices of the boxes that stay. Classes are moved apart, so that only boxes of one class overlap."""
    if not len(boxes):
        return []
    boxes = boxes + classes[:, None] * (boxes.max() + 1)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    queue = scores.argsort()[::-1]
    kept = []
    while queue.size:
        best, queue = queue[0], queue[1:]
        kept.append(best)
        shared = np.minimum(boxes[best, 2:], boxes[queue, 2:]) - np.maximum(boxes[best, :2], boxes[queue, :2])
        shared = shared.clip(0).prod(axis=1)
        queue = queue[shared / (areas[best] + areas[queue] - shared) <= iou]
    return kept


def run(arguments, settings, most_frames=None, out=os.devnull):
    model = Yolox(arguments.model, settings)
    frames = 0
    start = time.perf_counter()
    with av.open(arguments.video) as container, open(out, "w", newline="") as file:
        stream = container.streams.video[0]
        if settings[2]:
            stream.thread_type = "AUTO"
        tracker = trackers.ByteTrackTracker(frame_rate=float(stream.average_rate))
        rows = csv.writer(file)
        for frame in itertools.islice(container.decode(stream), most_frames):
            image = frame.to_ndarray(format="bgr24")
            boxes, scores, classes = model.detect(image, arguments.confidence, arguments.iou)
            tracked = tracker.update(supervision.Detections(boxes, confidence=scores, class_id=classes))
            for box, score, class_id, track in zip(
                tracked.xyxy, tracked.confidence, tracked.class_id, tracked.tracker_id
            ):
                rows.writerow([frames, frame.time, track, class_id, score, *box])
            frames += 1
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"frames": frames, "seconds": seconds, "frames_per_second": frames / seconds, "peak_rss_mb": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("model")
    parser.add_argument("--confidence", type=float, default=0.1)
    parser.add_argument("--iou", type=float, default=0.6)
    parser.add_argument("--settings", choices=SETTINGS, default="default")
    parser.add_argument("--out", default=os.devnull)
    parser.add_argument("--compare", type=int, nargs="?", const=500, metavar="FRAMES")
    arguments = parser.parse_args()
    if arguments.compare:
        rates = {
            name: run(arguments, settings, arguments.compare)["frames_per_second"]
            for name, settings in SETTINGS.items()
        }
        print(json.dumps({"best": max(rates, key=rates.get), "frames_per_second": rates}))
    else:
        print(json.dumps(run(arguments, SETTINGS[arguments.settings], out=arguments.out)))


if __name__ == "__main__":
    main()
