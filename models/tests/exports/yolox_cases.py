"""Makes test cases with YOLOX, as the package pixeltable-yolox ships it: python yolox_cases.py FOLDER"""

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn
from yolox.data import ValTransform
from yolox.models.network_blocks import SiLU
from yolox.models.yolo_head import YoloxHead
from yolox.models.yolo_pafpn import YoloPafpn
from yolox.models.yolox import YoloxModule
from yolox.utils import postprocess, replace_module

from shared import alike, best_threshold, first_steady, picture, save, settle_norms, spread, unrounded

SIDE, CLASSES, WIDTH_FACTOR = 160, 3, 0.0625
LIBRARY = f"pixeltable-yolox {version('pixeltable-yolox')}"
CASES = {"yolox-raw": False, "yolox-decoded": True}


def network_input(rgb):
    """The family's own preprocessing. The weights that it publishes were made with OpenCV's order, BGR."""
    image, _ = ValTransform(legacy=False)(rgb[..., ::-1].copy(), None, (SIDE, SIDE))
    return torch.from_numpy(image)[None]


def build(x, seed):
    torch.manual_seed(seed)
    model = YoloxModule(YoloPafpn(0.33, WIDTH_FACTOR), YoloxHead(CLASSES, WIDTH_FACTOR)).eval()
    settle_norms(model, lambda: model(torch.cat([x, x.flip(-1)])))
    for layers, mean, deviation in (("reg_preds", 1.3, 0.3), ("obj_preds", 0.0, 1.0), ("cls_preds", 0.0, 1.0)):
        for level in range(3):
            spread(model, [f"head.{layers}.{level}"], lambda: model(x), mean, deviation)
    return model


def export(model, x, decoded, file):
    """As the package's own script does, which only takes published weights."""
    model = replace_module(model, nn.SiLU, SiLU)
    model.head.decode_in_inference = decoded
    names = {"input_names": ["images"], "output_names": ["output"]}
    torch.onnx.export(model, x, file, **names, opset_version=11, dynamo=False)


def make(folder, case, decoded):
    yuv, rgb = picture(SIDE, SIDE - 32, seed=3)
    x = network_input(rgb)
    iou = 0.45

    def attempt(seed):
        model = build(x, seed)
        model.head.decode_in_inference = True
        off = torch.zeros_like(x)
        off[0, :, : rgb.shape[0]] = torch.from_numpy((unrounded(yuv) - rgb)[..., ::-1].copy()).permute(2, 0, 1)
        with torch.no_grad():
            said, said_unrounded = model(x), model(x + off)

        def detect(confidence, iou, said=said):
            rows = postprocess(said.clone(), CLASSES, confidence, iou)[0]
            return [(row[6], row[4] * row[5], row[:4]) for row in (np.empty((0, 7)) if rows is None else rows.tolist())]

        confidence = best_threshold(detect, iou, yuv)
        if confidence is None or not alike(detect(confidence, iou), detect(confidence, iou, said_unrounded)):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "model.onnx"
            export(model, x, decoded, file)
            about = {"library": LIBRARY, "family": "yolox", "confidence": confidence, "iou": iou}
            save(folder, case, file, yuv, **about, detections=detect(confidence, iou))
        return case

    first_steady(attempt)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[2:] or CASES:
        make(sys.argv[1], name, CASES[name])
