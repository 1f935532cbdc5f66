#!/usr/bin/env python3
"""Trains the sample detector on drawn streets and exports it.

    train.py --out ../models/catalog/street.onnx [--minutes 30]

Everything is drawn by the street's own program: training scenes, other scenes for validation, and neither of them is
the clip that ships. The seed is fixed; the budget is wall-clock time, so a faster machine trains a little longer.
"""

import argparse
import copy
import math
import os
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import cv2
import numpy as np
import pandas as pd
import torch

from detector.examples import TRAINING_SEEDS, VALIDATION_SEEDS, Cropper, draw_pool, letterboxed, recompress
from detector.export import export, frames_per_second
from detector.loss import detection_loss
from detector.network import Detector
from evaluate import CORNERS, average_precision
from street import IGNORED_BELOW
from street.figures import CLASSES

CROP = (256, 384)
"""Height and width of training crops: the largest car fits, and a step costs 40 % of one with whole pictures."""
BATCH = 8
PEAK_RATE = 2e-3
BOX_WEIGHT = 2.0
WARM_UP_STEPS = 100
EMA_HALF_LIFE_STEPS = 200


def main():
    arguments = _arguments()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    started = monotonic()
    scenes = TRAINING_SEEDS[: arguments.scenes]
    training = draw_pool(scenes, 4, arguments.threads)
    validation = draw_pool(VALIDATION_SEEDS, 4, arguments.threads)
    print(
        f"drew {len(training[0])} training and {len(validation[0])} validation frames in {monotonic() - started:.0f} s"
    )
    detector = train(training, validation, arguments)
    print("validation:", validate(detector, validation))
    export(detector, CLASSES, arguments.out)
    size = os.path.getsize(arguments.out)
    print(
        f"wrote {arguments.out}: {size} bytes, {frames_per_second(arguments.out):.0f} frames/s on one thread at 640x384"
    )


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, default=30, help="training time, without drawing")
    parser.add_argument("--scenes", type=int, default=500, help="training scenes, four frames each")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def train(training, validation, arguments):
    """Train for the given time and return the moving average of the weights, exported at every tenth of it too."""
    detector = Detector(len(CLASSES)).to(memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in detector.parameters())} parameters")
    average = copy.deepcopy(detector).eval()
    optimiser = torch.optim.AdamW(_parameter_groups(detector), lr=PEAK_RATE)
    cropper, rng = Cropper(training, *CROP), np.random.default_rng(0)
    started, step, told = monotonic(), 0, 1
    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(cropper.batch, BATCH, rng)
        while (done := (monotonic() - started) / (60 * arguments.minutes)) < 1:
            images, objects = waiting.result()
            waiting = ahead.submit(cropper.batch, BATCH, rng)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, done)
            losses = _step(detector, optimiser, torch.from_numpy(images), torch.from_numpy(objects))
            _follow(average, detector, step)
            step += 1
            if done * 10 >= told:
                told += 1
                figures = validate(average, validation)
                export(copy.deepcopy(average), CLASSES, arguments.out)
                print(
                    f"{done:4.0%} step {step} class {losses[0]:.3f} box {losses[1]:.3f} validation {figures}",
                    flush=True,
                )
    return average


def learning_rate(step, done):
    """Linear warm-up, then half a cosine down to 1 % of the peak at the end of the time."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return PEAK_RATE * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1))))


def _parameter_groups(detector):
    """Weight decay for convolutions only, not for biases and normalisation."""
    decayed = [p for p in detector.parameters() if p.ndim > 1]
    others = [p for p in detector.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]


def _step(detector, optimiser, images, objects):
    detector.train()
    scores, boxes = detector(images.contiguous(memory_format=torch.channels_last))
    class_loss, box_loss = detection_loss(scores, boxes, objects, CROP)
    optimiser.zero_grad(set_to_none=True)
    (class_loss + BOX_WEIGHT * box_loss).backward()
    torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
    optimiser.step()
    return class_loss.item(), box_loss.item()


@torch.no_grad()
def _follow(average, detector, step):
    """Exponential moving average of weights and statistics, quick at first."""
    keep = min(0.5 ** (1 / EMA_HALF_LIFE_STEPS), (1 + step) / (10 + step))
    state = detector.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(state[name], 1 - keep)
        else:
            value.copy_(state[name])


@torch.no_grad()
def validate(detector, pool):
    """mAP on the validation pool, every frame compressed, and the median score of objects that are plainly visible."""
    detector.eval()
    truths, found = [], []
    for number, (picture, objects) in enumerate(zip(*pool)):
        image, top = letterboxed(recompress(picture, 60))
        scores, boxes = detector(torch.from_numpy(image)[None])
        found += [(number, *row) for row in suppress(scores[0].sigmoid().numpy(), boxes[0].numpy() - [0, top, 0, top])]
        truths += [(number, CLASSES[int(o[0])], *o[1:5], o[5] < IGNORED_BELOW) for o in objects if o[0] >= 0]
    truth = pd.DataFrame(truths, columns=["frame", "class", *CORNERS, "ignored"])
    detections = pd.DataFrame(found, columns=["frame", "class", "score", *CORNERS])
    figures = average_precision(truth, detections)
    confident = (detections["score"] >= 0.7).sum() / max(1, (~truth["ignored"]).sum())
    return {
        "map50": round(figures["map50"], 4),
        "map50_95": round(figures["map50_95"], 4),
        "confident": round(float(confident), 3),
    }


def suppress(scores, boxes, least=0.1, most_overlap=0.6):
    """Greedy non-maximum suppression per class; rows of class name, score, x1, y1, x2, y2."""
    rows = []
    for kind, name in enumerate(CLASSES):
        order = [a for a in np.argsort(-scores[:, kind]) if scores[a, kind] >= least]
        kept = []
        for anchor in order:
            if all(_iou(boxes[anchor], boxes[other]) <= most_overlap for other in kept):
                kept.append(anchor)
        rows += [(name, float(scores[a, kind]), *boxes[a].tolist()) for a in kept]
    return rows


def _iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


if __name__ == "__main__":
    main()
