"""Makes test cases for PaddleDetection models: exported by PaddleDetection's own
exporter, turned into ONNX by paddle2onnx, and answered by Paddle itself.

    python paddle_cases.py FOLDER      (its packages: README.md)

Each case is a folder of FOLDER with model.onnx, picture.yuv and expected.json (and
infer_cfg.yml, which PaddleDetection's exporter writes next to every model). The
weights are random, the networks are as small as their heads allow.
"""

import zlib  # noqa: F401  (must come before paddle, which brings a zlib of its own)

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

warnings.filterwarnings("ignore")
# PaddleDetection 2.6 was written before Paddle could leave parts of a model untraced.
os.environ["ENABLE_FALL_BACK"] = "False"

import cv2
import numpy as np
import onnxruntime
import paddle
from ppdet.core.workspace import global_config, load_config
from ppdet.data.transform import operators
from ppdet.engine import Trainer

WIDTH, HEIGHT = 160, 128
CLASSES = ["red", "green", "blue"]

# What all configurations share: the parts that the trainer wants to see.
COMMON = """
norm_type: bn
use_gpu: false
use_xpu: false
use_mlu: false
use_npu: false
use_ema: false
log_iter: 1
save_dir: out
snapshot_epoch: 1
epoch: 1
weights: none
metric: COCO
num_classes: 3
print_flops: false
worker_num: 0
export: {post_process: true, nms: true, benchmark: false, fuse_conv_bn: false}
TestDataset: !ImageFolder
  anno_path: classes.json
TestReader:
  inputs_def: {image_shape: [3, HEIGHT, WIDTH]}
  sample_transforms:
    - Decode: {}
    - Resize: {target_size: [HEIGHT, WIDTH], keep_ratio: false, interp: 2}
    - NormalizeImage: NORMALIZE
    - Permute: {}
  batch_size: 1
""".replace("HEIGHT", str(HEIGHT)).replace("WIDTH", str(WIDTH))

IMAGENET = "{mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true}"
UNIT = "{mean: [0., 0., 0.], std: [1., 1., 1.], norm_type: none}"

PPYOLOE = """
architecture: YOLOv3
YOLOv3: {backbone: CSPResNet, neck: CustomCSPPAN, yolo_head: PPYOLOEHead, post_process: ~}
CSPResNet:
  layers: [1, 1, 1, 1]
  channels: [16, 24, 32, 48, 64]
  return_idx: [1, 2, 3]
  use_large_stem: true
  use_alpha: ALPHA
CustomCSPPAN: {out_channels: [48, 32, 24], stage_num: 1, block_num: 1, act: swish, spp: true}
PPYOLOEHead:
  fpn_strides: [32, 16, 8]
  grid_cell_scale: 5.0
  grid_cell_offset: 0.5
  static_assigner_epoch: 30
  use_varifocal_loss: true
  loss_weight: {class: 1.0, iou: 2.5, dfl: 0.5}
  static_assigner: {name: ATSSAssigner, topk: 9}
  assigner: {name: TaskAlignedAssigner, topk: 13, alpha: 1.0, beta: 6.0}
  nms: {name: MultiClassNMS, nms_top_k: 1000, keep_top_k: KEEP, score_threshold: 0.01, nms_threshold: IOU}
"""

PICODET = """
architecture: PicoDet
PicoDet: {backbone: LCNet, neck: LCPAN, head: PicoHeadV2}
LCNet: {scale: 0.25, feature_maps: [3, 4, 5]}
LCPAN: {out_channels: 32, use_depthwise: true, num_features: 4}
PicoHeadV2:
  conv_feat:
    name: PicoFeat
    feat_in: 32
    feat_out: 32
    num_convs: 2
    num_fpn_stride: 4
    norm_type: bn
    share_cls_reg: true
    use_se: true
  fpn_stride: [8, 16, 32, 64]
  feat_in_chan: 32
  prior_prob: 0.01
  reg_max: 7
  cell_offset: 0.5
  grid_cell_scale: 5.0
  static_assigner_epoch: 100
  use_align_head: true
  static_assigner: {name: ATSSAssigner, topk: 9, force_gt_matching: false}
  assigner: {name: TaskAlignedAssigner, topk: 13, alpha: 1.0, beta: 6.0}
  loss_class: {name: VarifocalLoss, use_sigmoid: false, iou_weighted: true, loss_weight: 1.0}
  loss_dfl: {name: DistributionFocalLoss, loss_weight: 0.5}
  loss_bbox: {name: GIoULoss, loss_weight: 2.5}
  nms: {name: MultiClassNMS, nms_top_k: 1000, keep_top_k: KEEP, score_threshold: 0.025, nms_threshold: IOU}
"""

# The head of YOLOv3 over the neck of PP-YOLO tiny, since YOLOv3's own has 80 MB at its smallest.
YOLOV3 = """
architecture: YOLOv3
YOLOv3: {backbone: MobileNet, neck: PPYOLOTinyFPN, yolo_head: YOLOv3Head, post_process: BBoxPostProcess}
MobileNet: {scale: 0.125, feature_maps: [4, 6, 13], with_extra_blocks: false, extra_block_filters: []}
PPYOLOTinyFPN: {detection_block_channels: [48, 32, 24], spp: true, drop_block: false}
YOLOv3Head:
  anchors: [[10, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119], [116, 90], [156, 198], [373, 326]]
  anchor_masks: [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
  loss: YOLOv3Loss
YOLOv3Loss: {ignore_thresh: 0.7, downsample: [32, 16, 8], label_smooth: false}
BBoxPostProcess:
  decode: {name: YOLOBox, conf_thresh: 0.005, downsample_ratio: 32, clip_bbox: true}
  nms: {name: MultiClassNMS, nms_top_k: 1000, keep_top_k: KEEP, score_threshold: 0.01, nms_threshold: IOU}
"""

# name: (network, normalisation, IoU of the NMS inside, boxes kept, other words to fill in)
CASES = {
    "paddle-ppyoloe": (PPYOLOE, IMAGENET, 0.6, 100, {"ALPHA": "false"}),
    "paddle-ppyoloe-plus": (PPYOLOE, UNIT, 0.7, 300, {"ALPHA": "true"}),
    "paddle-picodet": (PICODET, IMAGENET, 0.6, 100, {}),
    "paddle-yolov3": (YOLOV3, IMAGENET, 0.45, 100, {}),
}


def draw(seed):
    """A picture of soft-edged light on flat-coloured ellipses, as YUV and as RGB.

    The (U, V) pairs are those few at which all of R, G and B are nearly whole numbers
    for every Y, so that the picture means the same in both colour spaces.
    """
    paints = [(-22, 5), (22, -5), (0, 112), (0, -112), (22, 107), (-57, -107), (57, 107), (-22, -107)]
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    luma = 110 + 70 * np.sin(across / 23 + 0.5) * np.cos(down / 31)
    chroma_u = np.zeros((HEIGHT, WIDTH))
    chroma_v = np.zeros((HEIGHT, WIDTH))
    for number in range(9):
        u, v = paints[number % len(paints)]
        offsets = [1.402 * v, -0.344136 * u - 0.714136 * v, 1.772 * u]
        low, high = np.ceil(-min(offsets)), np.floor(255 - max(offsets))
        middle = rng.uniform([8, 8], [WIDTH - 8, HEIGHT - 8])
        half = rng.uniform(8, 30, 2)
        distance = np.hypot((across - middle[0]) / half[0], (down - middle[1]) / half[1])
        inside = distance < 1
        light = low + (high - low) * (0.5 + 0.5 * np.cos(np.pi * np.minimum(distance, 1)))
        luma[inside], chroma_u[inside], chroma_v[inside] = light[inside], u, v
    y = np.rint(luma)
    rgb = np.stack([y + 1.402 * chroma_v,
                    y - 0.344136 * chroma_u - 0.714136 * chroma_v,
                    y + 1.772 * chroma_u], axis=-1)
    whole = np.rint(rgb)
    assert np.abs(rgb - whole).max() < 0.03 and whole.min() >= 0 and whole.max() <= 255
    yuv = np.stack([y, chroma_u + 128, chroma_v + 128]).astype(np.uint8)
    return yuv, whole.astype(np.uint8)


def configure(work, name):
    network, normalize, iou, keep, words = CASES[name]
    text = COMMON.replace("NORMALIZE", normalize) + network
    for word, value in {"IOU": str(iou), "KEEP": str(keep), **words}.items():
        text = text.replace(word, value)
    path = work / f"{name}.yml"
    path.write_text(text)
    (work / "classes.json").write_text(json.dumps({
        "images": [], "annotations": [],
        "categories": [{"id": n + 1, "name": c} for n, c in enumerate(CLASSES)]}))
    global_config_before = dict(global_config)
    config = load_config(str(path))
    config["TestDataset"].anno_path = str(work / "classes.json")
    return config, global_config_before


def prepare(config, png):
    """The model's inputs for a picture file, made by PaddleDetection's own operators."""
    sample = {"im_file": str(png)}
    for step in config["TestReader"]["sample_transforms"]:
        for kind, settings in step.items():
            sample = getattr(operators, kind)(**settings)(sample)
    return {key: np.asarray(sample[key], np.float32)[None] for key in ("image", "im_shape", "scale_factor")}


def fill(model, inputs, rng):
    """Random weights that make the network answer differently from place to place."""
    tensors = {key: paddle.to_tensor(value) for key, value in inputs.items()}
    norms = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.layer.norm._BatchNormBase)]
    for layer in model.sublayers():
        # (a weight without gradient is a constant of the decoding)
        if isinstance(layer, paddle.nn.Conv2D) and not layer.weight.stop_gradient:
            shape = layer.weight.shape
            deviation = np.sqrt(2 / np.prod(shape[1:]))
            layer.weight.set_value(rng.normal(0, deviation, shape).astype(np.float32))
    # One pass that sets the normalisation layers to this picture's statistics. They put
    # values where the activations are nearly straight: a random network that bends at
    # every layer would answer a rounding error with other boxes.
    model.eval()
    for layer in norms:
        layer.weight.set_value(np.full(layer.weight.shape, 0.4, np.float32))
        layer.bias.set_value(np.full(layer.bias.shape, 1.0, np.float32))
        layer.train()
        layer._momentum = 0.0
    model(tensors)
    for layer in norms:
        layer._momentum = 0.9
    model.eval()
    return tensors


def balance(layers, outputs, weights, biases):
    """Scales each layer's weights so that its answers spread by `weights`, around `biases`."""
    for layer, output, spread, centre in zip(layers, outputs, weights, biases):
        values = output.numpy()
        axes = (0, 2, 3)
        deviation = values.std(axis=axes) + 1e-6
        factor = spread / deviation
        shift = centre - (values.mean(axis=axes) - layer.bias.numpy()) * factor
        layer.weight.set_value((layer.weight.numpy() * factor[:, None, None, None]).astype(np.float32))
        layer.bias.set_value(shift.astype(np.float32))


def watch(layers, model, tensors):
    """What each of these layers answers during one run of the model, first call only."""
    seen = {}
    hooks = [layer.register_forward_post_hook(
        lambda layer, _, output, key=key: seen.setdefault(key, output)) for key, layer in enumerate(layers)]
    model(tensors)
    for hook in hooks:
        hook.remove()
    return [seen[key] for key in range(len(layers))]


def shape_heads(model, tensors):
    """Gives the last layers of a head a useful spread of scores and of box sizes."""
    head = getattr(model, "yolo_head", None) or model.head
    kind = type(head).__name__
    if kind == "PPYOLOEHead":
        scores, sides = list(head.pred_cls), list(head.pred_reg)
    elif kind == "PicoHeadV2":
        scores, sides = list(head.head_cls_list), list(head.head_reg_list)
    else:
        layers = list(head.yolo_outputs)
        channels = 5 + len(CLASSES)
        spread = np.tile([0.8, 0.8, 0.4, 0.4, 1.5] + [1.5] * len(CLASSES), 3)
        centre = np.tile([0.0, 0.0, -0.2, -0.2, -1.5] + [-0.5] * len(CLASSES), 3)
        assert len(spread) == layers[0].weight.shape[0] == 3 * channels
        balance(layers, watch(layers, model, tensors), [spread] * 3, [centre] * 3)
        return
    balance(scores, watch(scores, model, tensors), [1.3] * len(scores), [-2.5] * len(scores))
    # Each side of a box is an average over bins; the near bins get the most weight.
    ramp = np.tile(-0.55 * np.arange(sides[0].weight.shape[0] // 4), 4)
    balance(sides, watch(sides, model, tensors), [1.0] * len(sides), [ramp] * len(sides))


def export(config, name, work, inputs, seed):
    paddle.seed(seed)
    trainer = Trainer(config, mode="test")
    tensors = fill(trainer.model, inputs, np.random.default_rng(seed))
    shape_heads(trainer.model, tensors)
    trainer.export(str(work))
    folder = work / name
    subprocess.run([str(Path(sys.executable).with_name("paddle2onnx")), "--model_dir", str(folder),
                    "--model_filename", "model.pdmodel", "--params_filename", "model.pdiparams",
                    "--opset_version", "16", "--save_file", str(folder / "model.onnx")],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder


def ask_paddle(folder, inputs):
    model = paddle.jit.load(str(folder / "model"))
    rows, count = model(*[paddle.to_tensor(inputs[spec.name]) for spec in model._input_spec()])
    assert count.numpy().tolist() == [rows.shape[0]]
    return by_score(rows.numpy())


def ask_onnx(folder, inputs):
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    rows, count = session.run(None, {i.name: inputs[i.name] for i in session.get_inputs()})
    assert count.tolist() == [len(rows)]
    return by_score(rows)


def by_score(rows):
    """Paddle sorts by class and then by score, paddle2onnx's graph by score alone."""
    return rows[np.lexsort((rows[:, 0], -rows[:, 1]))]


def choose(scores):
    """A confidence in the widest gap of the scores that leaves between 6 and 40 of them."""
    scores = np.sort(scores)[::-1]
    ranks = range(6, min(40, len(scores) - 1))
    best = max(ranks, key=lambda rank: scores[rank - 1] - scores[rank])
    confidence = round(float(scores[best - 1] + scores[best]) / 2, 4)
    return confidence if np.abs(scores - confidence).min() > 2.5e-3 else None


def make(name, target, work, seed):
    yuv, rgb = draw(seed)
    png = work / "picture.png"
    cv2.imwrite(str(png), rgb[:, :, ::-1])
    config, before = configure(work, name)
    try:
        inputs = prepare(config, png)
        assert inputs["scale_factor"].tolist() == [[1, 1]]
        folder = export(config, name, work, inputs, seed)
    finally:
        global_config.clear()
        global_config.update(before)
    rows = ask_paddle(folder, inputs)
    if len(rows) < 8:
        return f"only {len(rows)} boxes"
    confidence = choose(rows[:, 1])
    if confidence is None:
        return "no gap between the scores"
    rows = rows[rows[:, 1] >= confidence]
    # The ONNX file must say the same, and go on saying it when the colours move a little.
    for wobble in (0.0, 0.02, -0.02):
        moved = {**inputs, "image": inputs["image"] * np.float32(1 + wobble / 255)}
        other = ask_onnx(folder, moved)
        other = other[other[:, 1] >= confidence]
        if len(other) != len(rows) or (other[:, 0] != rows[:, 0]).any():
            return "unsteady"
        if np.abs(other[:, 1] - rows[:, 1]).max() > 1e-3 or np.abs(other[:, 2:] - rows[:, 2:]).max() > 0.1:
            return "unsteady"
    case = target / name
    case.mkdir(parents=True, exist_ok=True)
    for file in ("model.onnx", "infer_cfg.yml"):
        shutil.copy(folder / file, case / file)
    # The file itself does not tell how its input wants to be filled; its owner has to.
    mean, std = ([0, 0, 0], [1, 1, 1]) if name.endswith("-plus") else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    (case / "model.toml").write_text(f"mean = {mean}\nstd = {std}\n")
    (case / "picture.yuv").write_bytes(yuv.tobytes())
    library = f"paddledet {version('paddledet')}, paddlepaddle {paddle.__version__}, paddle2onnx {version('paddle2onnx')}"
    (case / "expected.json").write_text(json.dumps({
        "library": library, "width": WIDTH, "height": HEIGHT,
        "confidence": confidence, "iou": CASES[name][2], "family": name.split("-", 1)[1],
        "detections": [{"class_id": int(row[0]), "score": float(row[1]), "box": [float(v) for v in row[2:]]}
                       for row in rows]}, indent=1) + "\n")
    print(f"{name}: {len(rows)} detections at {confidence} (seed {seed}), "
          f"{(case / 'model.onnx').stat().st_size // 1024} KiB")
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", choices=sorted(CASES))
    arguments = parser.parse_args()
    logging.getLogger("ppdet.engine").setLevel(logging.ERROR)
    for name in arguments.only or CASES:
        for seed in range(1, 21):
            with tempfile.TemporaryDirectory() as work:
                reason = make(name, arguments.folder, Path(work), seed)
            if reason is None:
                break
            print(f"{name}: seed {seed} does not serve: {reason}")
        else:
            sys.exit(f"{name}: no seed served")


if __name__ == "__main__":
    main()
