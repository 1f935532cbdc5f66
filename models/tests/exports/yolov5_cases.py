"""Makes a test case with the package yolov5, whose head has anchors: python yolov5_cases.py FOLDER

For the older environment, see README.md.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLOv5_AUTOINSTALL="false", YOLOv5_VERBOSE="false")

import numpy as np
import torch
import yaml
import yolov5
from yolov5.export import export_onnx
from yolov5.models.yolo import DetectionModel
from yolov5.utils.augmentations import letterbox
from yolov5.utils.general import non_max_suppression, scale_boxes

from shared import alike, best_threshold, first_steady, picture, save, settle_norms, spread, unrounded

NAMES = {0: "person", 1: "bird's nest", 2: "car"}
# case: whether its axes are dynamic, side of the input. Nothing in a dynamic graph says a side, so it is the usual one.
CASES = {"yolov5": (False, 160), "yolov5-dynamic": (True, 640)}


def network_input(rgb, dynamic, side):
    image = letterbox(rgb, side, stride=32, auto=dynamic)[0].transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None] / 255


def build(x, seed):
    torch.manual_seed(seed)
    shipped = Path(yolov5.__file__).parent / "models/yolov5n.yaml"
    model = DetectionModel(yaml.safe_load(shipped.read_text()) | {"width_multiple": 0.0625}, nc=len(NAMES))
    model.names = NAMES
    settle_norms(model, lambda: model(torch.cat([x, x.flip(-1)])))
    head = len(model.model) - 1
    for level in range(3):
        # Objectness starts out near zero and would drown all scores.
        torch.nn.init.zeros_(model.get_submodule(f"model.{head}.m.{level}").bias)
        spread(model, [f"model.{head}.m.{level}"], lambda: model(x), -0.5 if x.shape[3] > 160 else 0.3, 1.0)
        # Wider and higher boxes, so that few lie in the padding.
        with torch.no_grad():
            model.get_submodule(f"model.{head}.m.{level}").bias.view(3, -1)[:, 2:4] += 1.0
    return model


def export(model, x, dynamic, file):
    head = model.model[-1]
    head.export, head.dynamic = True, dynamic
    return export_onnx(model, x, file, 12, dynamic, False)[0]


def make(folder, case):
    dynamic, side = CASES[case]
    # A low picture keeps the wide input small.
    yuv, rgb = picture(side, 96 if dynamic else side - 32, seed=3)
    x = network_input(rgb, dynamic, side)
    iou = 0.45

    def attempt(seed):
        model = build(x, seed)
        with torch.no_grad():
            said = model(x)[0]
            said_unrounded = model(network_input(unrounded(yuv), dynamic, side))[0]

        def detect(confidence, iou, said=said):
            found = non_max_suppression(said.clone(), confidence, iou)[0]
            found[:, :4] = scale_boxes(x.shape[2:], found[:, :4], rgb.shape)
            return [(row[5], row[4], row[:4]) for row in found.tolist()]

        confidence = best_threshold(detect, iou, yuv)
        if confidence is None or not alike(detect(confidence, iou), detect(confidence, iou, said_unrounded)):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            file = export(model, x, dynamic, Path(scratch) / "model.onnx")
            about = {
                "library": f"yolov5 {yolov5.__version__}",
                "family": "yolov5",
                "confidence": confidence,
                "iou": iou,
            }
            save(folder, case, file, yuv, **about, detections=detect(confidence, iou))
        return case

    first_steady(attempt)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[2:] or CASES:
        make(sys.argv[1], name)
