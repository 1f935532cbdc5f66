"""Makes a test case with D-FINE, as the package pydfine ships it: python dfine_cases.py FOLDER"""

import sys
import tempfile
from pathlib import Path

import dfine
import dfine.config
import torch
from dfine.backends.native.hgnetv2 import HGNetv2
from PIL import Image

from shared import alike, best_threshold, first_steady, picture, rgb_tensor, save, settle_norms, spread, unrounded

SIDE, CLASSES = 160, 3
# One for each place of both feature maps, so that it does not hang on a hair which places are chosen.
QUERIES = 125
SMALL = {
    "num_queries": QUERIES,
    "num_top_queries": QUERIES,
    "backbone_pretrained": False,
    "in_channels": [16, 32],
    "hidden_dim": 32,
    "feat_channels": [32, 32],
    "encoder_dim_feedforward": 64,
    "decoder_dim_feedforward": 64,
}


def thin_backbone():
    """The smallest backbone that the package knows has millions of weights; this one has its form, not its size."""
    HGNetv2.arch_configs["B0"]["stem_channels"] = [3, 8, 8]
    HGNetv2.arch_configs["B0"]["stage_config"] = {
        "stage1": [8, 8, 16, 1, False, False, 3, 3],
        "stage2": [16, 8, 16, 1, True, False, 3, 3],
        "stage3": [16, 8, 16, 1, True, True, 5, 3],
        "stage4": [16, 8, 32, 1, True, True, 5, 3],
    }
    dfine.config._HGNET_STAGE_CHANNELS["hgnetv2_b0"] = (16, 16, 16, 32)


def build(x, seed):
    torch.manual_seed(seed)
    detector = dfine.DFINE(size="n", num_classes=CLASSES, imgsz=SIDE, device="cpu", **SMALL)
    model = detector.model
    settle_norms(model, lambda: model(torch.cat([x, x.flip(-1)])))
    layers = [
        name for name, _ in model.named_modules() if ".dec_score_head." in name or name.endswith("enc_score_head")
    ]
    for layer in layers:
        spread(model, [layer], lambda: model(x), -1.0, 1.5)
    return detector


def seen(detector, rgb, confidence):
    """What `predict` does, for pixels that are no whole numbers."""
    with torch.no_grad():
        found = detector.postprocessor(detector.model(rgb_tensor(rgb)), torch.tensor([[SIDE, SIDE]]))[0]
    rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist())
    return [row for row in rows if row[1] > confidence]


def make(folder, case="dfine"):
    yuv, rgb = picture(SIDE, SIDE, seed=3)
    x = rgb_tensor(rgb)

    def attempt(seed):
        detector = build(x, seed)

        boxes = detector.predict(Image.fromarray(rgb), conf=0.0)[0].boxes
        every = list(zip(boxes.cls.tolist(), boxes.conf.tolist(), boxes.xyxy.tolist()))

        def detect(confidence, _iou):
            return [row for row in every if row[1] > confidence]

        confidence = best_threshold(detect, 0.5, yuv)
        if confidence is None:
            return None
        if not alike(*(seen(detector, pixels, confidence) for pixels in (rgb, unrounded(yuv)))):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "model.onnx"
            detector.export(file=file)
            about = {
                "library": f"pydfine {dfine.__version__}",
                "family": "d-fine",
                "confidence": confidence,
                "iou": 1.0,
            }
            save(folder, case, file, yuv, **about, detections=detect(confidence, 0.5))
        return case

    first_steady(attempt)


if __name__ == "__main__":
    torch.set_num_threads(1)
    thin_backbone()
    make(sys.argv[1])
