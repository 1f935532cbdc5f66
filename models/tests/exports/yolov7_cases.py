"""Makes test cases with YOLOv7, as the package sas-yolov7 ships it: python yolov7_cases.py FOLDER [case...]

For the older environment, see README.md.
"""

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import sas_yolov7
import torch
import yaml
from sas_yolov7.models.experimental import End2End
from sas_yolov7.models.yolo import Model
from sas_yolov7.utils.datasets import letterbox
from sas_yolov7.utils.general import non_max_suppression, scale_coords

from shared import alike, best_threshold, first_steady, picture, save, settle_norms, spread, unrounded

SIDE, CLASSES = 160, 3
# case: whether suppression is in the graph
CASES = {"yolov7": False, "yolov7-end2end": True}


def network_input(rgb):
    image = letterbox(rgb, SIDE, stride=32, auto=False)[0].transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None] / 255


def build(x, seed):
    torch.manual_seed(seed)
    shipped = Path(sas_yolov7.__file__).parent / "cfg/deploy/yolov7-tiny.yaml"
    model = Model(yaml.safe_load(shipped.read_text()) | {"width_multiple": 0.125}, nc=CLASSES).eval()
    settle_norms(model, lambda: model(torch.cat([x, x.flip(-1)])))
    head = f"model.{len(model.model) - 1}.m"
    for level in range(3):
        layer = model.get_submodule(f"{head}.{level}")
        # Objectness starts out near zero and would drown all scores.
        torch.nn.init.zeros_(layer.bias)
        spread(model, [f"{head}.{level}"], lambda: model(x), 0.3, 1.0)
        # Wider and higher boxes, so that few lie in the padding.
        with torch.no_grad():
            layer.bias.view(3, -1)[:, 2:4] += 1.0
    return model


def export(model, x, suppressed, confidence, iou, file):
    """As the family's export script does with `--grid`, and with `--end2end --max-wh`."""
    if suppressed:
        model = End2End(model, 100, iou, confidence, SIDE * 4, torch.device("cpu"), CLASSES)
    else:
        model.model[-1].concat = True
    model.eval()
    torch.onnx.export(model, x, file, opset_version=12, input_names=["images"], output_names=["output"])


def make(folder, case):
    yuv, rgb = picture(SIDE, SIDE - 32, seed=3)
    x = network_input(rgb)
    iou = 0.45

    def attempt(seed):
        model = build(x, seed)
        with torch.no_grad():
            said, said_unrounded = model(x)[0], model(network_input(unrounded(yuv)))[0]

        def detect(confidence, iou, said=said):
            found = non_max_suppression(said.clone(), confidence, iou)[0]
            found[:, :4] = scale_coords(x.shape[2:], found[:, :4], rgb.shape)
            return [(row[5], row[4], row[:4]) for row in found.tolist()]

        confidence = best_threshold(detect, iou, yuv)
        if confidence is None or not alike(detect(confidence, iou), detect(confidence, iou, said_unrounded)):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "model.onnx"
            export(model, x, CASES[case], confidence - 0.01, iou, file)
            about = {
                "library": f"sas-yolov7 {version('sas-yolov7')}",
                "family": case,
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
