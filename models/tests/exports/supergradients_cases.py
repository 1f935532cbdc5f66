"""Makes test cases with SuperGradients' YOLO-NAS: python supergradients_cases.py FOLDER [case...]

For the older environment, see README.md.
"""

import sys
import tempfile
from pathlib import Path

# The library prints, logs and looks for updates when it is imported with the arguments of a script.
ARGUMENTS, sys.argv = sys.argv[1:], sys.argv[:1]

import super_gradients
import torch
from super_gradients.conversion import DetectionOutputFormatMode
from super_gradients.training.models.arch_params_factory import get_arch_params
from super_gradients.training.models.detection_models.yolo_nas.yolo_nas_variants import YoloNAS
from super_gradients.training.processing.processing import (
    ComposeProcessing,
    DetectionCenterPadding,
    DetectionLongestMaxSizeRescale,
    ImagePermute,
    StandardizeImage,
)

from shared import best_threshold, first_steady, picture, rgb_tensor, save, settle_norms, spread

SIDE, CLASSES = 160, 3
FLAT, BATCH = DetectionOutputFormatMode.FLAT_FORMAT, DetectionOutputFormatMode.BATCH_FORMAT
CASES = {"yolo-nas-batch": BATCH, "yolo-nas-flat": FLAT}
THIN = 0.125


def thinned(value, key=""):
    """The shipped network with an eighth of its channels."""
    if hasattr(value, "items"):
        return {name: thinned(part, name) for name, part in value.items()}
    if isinstance(value, (list, tuple)) or type(value).__name__ == "ListConfig":
        return [thinned(part, key) for part in value]
    if key in ("out_channels", "hidden_channels", "output_channels", "inter_channels") and isinstance(value, int):
        return max(8, int(value * THIN))
    return value


def network():
    shape = thinned(get_arch_params("yolo_nas_s_arch_params"))
    shape["heads"]["NDFLHeads"]["num_classes"] = CLASSES
    keys = ("backbone", "neck", "heads", "bn_eps", "bn_momentum", "inplace_act", "in_channels")
    return YoloNAS(num_classes=CLASSES, **{key: shape[key] for key in keys if key in shape})


def processing():
    """As for the published weights, but without the two pixels that these leave free on each side."""
    steps = [
        DetectionLongestMaxSizeRescale(output_shape=(SIDE, SIDE)),
        DetectionCenterPadding(output_shape=(SIDE, SIDE), pad_value=114),
        StandardizeImage(max_value=255.0),
        ImagePermute(permutation=(2, 0, 1)),
    ]
    return ComposeProcessing(steps)


def build(x, seed):
    torch.manual_seed(seed)
    model = network().eval()
    settle_norms(model, lambda: model(torch.cat([x, x.flip(-1)])))
    for layer, mean, deviation in (("reg_pred", 0.0, 1.0), ("cls_pred", -3.0, 1.5)):
        for level in (1, 2, 3):
            spread(model, [f"heads.head{level}.{layer}"], lambda: model(x), mean, deviation)
    names = [f"class{index}" for index in range(CLASSES)]
    model.set_dataset_processing_params(class_names=names, image_processor=processing(), iou=0.5, conf=0.25)
    return model


def make(folder, case):
    yuv, rgb = picture(SIDE, SIDE - 32, seed=3)
    x = torch.full((1, 3, SIDE, SIDE), 114 / 255)
    x[:, :, 16:-16] = rgb_tensor(rgb)
    iou = 0.5

    def attempt(seed):
        model = build(x, seed)

        def detect(confidence, iou):
            found = model.predict(rgb, conf=confidence, iou=iou, fuse_model=False, fp16=False).prediction
            return list(zip(found.labels.tolist(), found.confidence.tolist(), found.bboxes_xyxy.tolist()))

        confidence = best_threshold(detect, iou, yuv)
        if confidence is None:
            return None
        found = detect(confidence, iou)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "model.onnx"
            inside = {"confidence_threshold": confidence - 0.01, "nms_threshold": iou}
            model.export(
                str(file),
                output_predictions_format=CASES[case],
                input_image_shape=(SIDE, SIDE),
                onnx_simplify=False,
                **inside,
            )
            about = {"library": f"super-gradients {super_gradients.__version__}", "family": "yolo-nas"}
            save(folder, case, file, yuv, **about, confidence=confidence, iou=iou, detections=found)
        return case

    first_steady(attempt)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in ARGUMENTS[1:] or CASES:
        make(ARGUMENTS[0], name)
