#!/usr/bin/env python3
"""Detects objects in a video, sharing no code with FrameFleet: what its results are compared with.

    python3 detect.py VIDEO MODEL [--confidence 0.25] [--iou 0.45] [--out detections.csv]

Models: YOLOX as its own exporter leaves it (raw), and Ultralytics v8 or newer. Needs the packages of requirements.txt.
Prints CSV: frame,class_id,score,x1,y1,x2,y2, boxes in pixels of the decoded picture, clipped to it. Suppression is
class-wise.
"""

import argparse
import csv
import sys

import av
import cv2
import numpy as np
import onnxruntime

GREY = 114
# Where a model leaves its input open: the long side, and what its sides are multiples of.
OPEN_SIDE, STRIDE = 640, 32


class Yolox:
    """Pictures in BGR from 0 to 255 in the top left corner; boxes as offsets and logarithms on a grid."""

    def __init__(self, height, width):
        self.height, self.width = height, width
        self.places = grid(width, height)

    def fill(self, image):
        ratio = min(self.height / image.shape[0], self.width / image.shape[1])
        size = (int(image.shape[1] * ratio), int(image.shape[0] * ratio))
        canvas = np.full((self.height, self.width, 3), GREY, np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return canvas.transpose(2, 0, 1)[None].astype(np.float32), ratio, (0, 0)

    def read(self, output):
        """Corners in input pixels, and the score of every class."""
        head = output[0]
        columns, rows, strides = self.places.T
        centre = (head[:, :2] + np.stack([columns, rows], axis=1)) * strides[:, None]
        half = np.exp(head[:, 2:4]) * strides[:, None] / 2
        return np.concatenate([centre - half, centre + half], axis=1), head[:, 4:5] * head[:, 5:]


class Ultralytics:
    """Pictures in RGB from 0 to 1 in the middle of as little grey as there can be; boxes as centre and size."""

    def __init__(self, height, width):
        self.fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def fill(self, image):
        height, width = self.fixed or (OPEN_SIDE, OPEN_SIDE)
        ratio = min(height / image.shape[0], width / image.shape[1])
        size = (round(image.shape[1] * ratio), round(image.shape[0] * ratio))
        if not self.fixed:
            width, height = (-(-side // STRIDE) * STRIDE for side in size)
        left, top = (round((whole - side) / 2 - 0.1) for whole, side in zip((width, height), size))
        canvas = np.full((height, width, 3), GREY, np.uint8)
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        canvas[top : top + size[1], left : left + size[0]] = scaled[:, :, ::-1]
        return canvas.transpose(2, 0, 1)[None].astype(np.float32) / 255, ratio, (left, top)

    def read(self, output):
        head = output[0].T
        half = head[:, 2:4] / 2
        return np.concatenate([head[:, :2] - half, head[:, :2] + half], axis=1), head[:, 4:]


def grid(width, height):
    """For every place of the head: its column, its row and its stride."""
    places = []
    for stride in (8, 16, 32):
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        places.append(np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1))
    return np.concatenate(places).astype(np.float32)


def overlap(box, boxes):
    width = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    height = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    shared = width.clip(0) * height.clip(0)
    area = (box[2] - box[0]) * (box[3] - box[1]) + (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return shared / (area - shared)


def suppress(boxes, scores, classes, iou):
    """Indices of the boxes that stay, best first."""
    kept = []
    for class_id in np.unique(classes):
        queue = np.flatnonzero(classes == class_id)
        queue = queue[np.argsort(-scores[queue], kind="stable")]
        while queue.size:
            best, queue = queue[0], queue[1:]
            kept.append(best)
            queue = queue[overlap(boxes[best], boxes[queue]) <= iou]
    return sorted(kept, key=lambda index: -scores[index])


def detect(session, family, image, confidence, iou):
    tensor, ratio, (left, top) = family.fill(image)
    output = session.run(None, {session.get_inputs()[0].name: tensor})[0]
    boxes, scores = family.read(output)
    classes, scores = scores.argmax(axis=1), scores.max(axis=1)
    keep = scores >= confidence
    classes, scores = classes[keep], scores[keep]
    boxes = (boxes[keep] - np.float32([left, top, left, top])) / ratio
    limit = np.array([image.shape[1], image.shape[0]] * 2)
    for index in suppress(boxes, scores, classes, iou):
        yield classes[index], scores[index], *boxes[index].clip(0, limit)


def family_of(session):
    """YOLOX has a row for every place, Ultralytics a column, and says in its metadata which task it is for."""
    height, width = session.get_inputs()[0].shape[2:]
    is_ultralytics = "task" in session.get_modelmeta().custom_metadata_map
    return (Ultralytics if is_ultralytics else Yolox)(height, width)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("model")
    parser.add_argument("--confidence", type=float, default=0.25)
    parser.add_argument("--iou", type=float, default=0.45)
    parser.add_argument("--out", help="a file instead of standard output")
    arguments = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    family = family_of(session)
    out = open(arguments.out, "w", newline="") if arguments.out else sys.stdout
    with out, av.open(arguments.video) as container:
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(["frame", "class_id", "score", "x1", "y1", "x2", "y2"])
        for number, frame in enumerate(container.decode(video=0)):
            image = frame.to_ndarray(format="bgr24")
            for class_id, score, *box in detect(session, family, image, arguments.confidence, arguments.iou):
                rows.writerow([number, class_id, f"{score:.5f}", *(f"{side:.3f}" for side in box)])


if __name__ == "__main__":
    main()
