"""Makes test cases with RF-DETR: python rfdetr_cases.py FOLDER [case...]"""

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import rfdetr
import torch
from PIL import Image
from rfdetr.models.backbone import dinov2
from torchvision.transforms.functional import normalize

from shared import alike, best_threshold, first_steady, picture, rgb_tensor, save, spread, unrounded

SIDE = 192
SMALL = {"hidden_dim": 64, "sa_nheads": 4, "ca_nheads": 4, "num_queries": 30, "num_select": 30, "group_detr": 1}
# Three classes, as then boxes and logits have one shape and only their names tell them apart.
CASES = {"rfdetr-3-classes": 3, "rfdetr-5-classes": 5}


def thin_backbone():
    """Twelve layers as in the smallest published network, but narrow ones."""
    shipped = dinov2.get_config
    dinov2.get_config = lambda *which: shipped(*which) | {"hidden_size": 48, "num_attention_heads": 2}
    dinov2.size_to_width["small"] = 48


def build(classes, x, seed):
    torch.manual_seed(seed)
    detector = rfdetr.RFDETRNano(pretrain_weights=None, resolution=SIDE, num_classes=classes, device="cpu", **SMALL)
    network = detector.model.model.eval()
    for layer, mean, deviation in (("class_embed", -2.0, 1.5), ("bbox_embed.layers.2", 0.0, 0.5)):
        spread(network, [layer], lambda: network(x), mean, deviation)
    # The slot of the background is no class, yet `predict` reports it; trained networks never let it speak.
    with torch.no_grad():
        network.class_embed.bias[classes] = -30
    return detector


def make(folder, case):
    yuv, rgb = picture(SIDE, SIDE, seed=3)
    x = normalize(rgb_tensor(rgb), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])

    def attempt(seed):
        detector = build(CASES[case], x, seed)

        def detect(confidence, _iou, source=Image.fromarray(rgb)):
            found = detector.predict(source, threshold=confidence)
            return list(zip(found.class_id.tolist(), found.confidence.tolist(), found.xyxy.tolist()))

        confidence = best_threshold(detect, 0.5, yuv)
        if confidence is None:
            return None
        found = detect(confidence, 0.5)
        if not alike(found, detect(confidence, 0.5, rgb_tensor(unrounded(yuv))[0])):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            detector.export(output_dir=scratch, verbose=False)
            file = next(Path(scratch).glob("*.onnx"))
            about = {
                "library": f"rfdetr {version('rfdetr')}",
                "family": "rf-detr",
                "confidence": confidence,
                "iou": 1.0,
            }
            save(folder, case, file, yuv, **about, detections=found)
        return case

    first_steady(attempt)


if __name__ == "__main__":
    torch.set_num_threads(1)
    thin_backbone()
    for name in sys.argv[2:] or CASES:
        make(sys.argv[1], name)
