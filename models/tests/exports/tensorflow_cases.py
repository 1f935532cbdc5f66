"""Makes test cases for the TensorFlow Object Detection API: models built, exported and
answered by the API itself, turned into ONNX by tf2onnx.

    python tensorflow_cases.py FOLDER      (its packages: README.md)

Each case is a folder of FOLDER with model.onnx, picture.yuv and expected.json. The
weights are random, the networks are as small as the API lets them be.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx
from google.protobuf import text_format
from object_detection import exporter_lib_v2
from object_detection.builders import model_builder
from object_detection.protos import pipeline_pb2

WIDTH, HEIGHT = 160, 128
IOU = 0.6

SSD = """
model { ssd {
  num_classes: 3
  image_resizer { fixed_shape_resizer { height: HEIGHT width: WIDTH } }
  feature_extractor {
    type: "ssd_mobilenet_v2_keras"
    depth_multiplier: 0.25
    min_depth: 8
    conv_hyperparams {
      regularizer { l2_regularizer { weight: 0.00004 } }
      initializer { truncated_normal_initializer { stddev: 0.03 } }
      activation: RELU_6
      batch_norm { decay: 0.97 epsilon: 0.001 }
    }
    override_base_feature_extractor_hyperparams: true
  }
  box_coder { faster_rcnn_box_coder { y_scale: 10 x_scale: 10 height_scale: 5 width_scale: 5 } }
  matcher { argmax_matcher { matched_threshold: 0.5 unmatched_threshold: 0.5 } }
  similarity_calculator { iou_similarity { } }
  box_predictor { convolutional_box_predictor {
    conv_hyperparams {
      regularizer { l2_regularizer { weight: 0.00004 } }
      initializer { random_normal_initializer { stddev: 0.01 } }
      activation: RELU_6
    }
    kernel_size: 1
    box_code_size: 4
  } }
  anchor_generator { ssd_anchor_generator {
    num_layers: 6 min_scale: 0.2 max_scale: 0.95
    aspect_ratios: 1.0 aspect_ratios: 2.0 aspect_ratios: 0.5 aspect_ratios: 3.0 aspect_ratios: 0.3333
  } }
  post_processing {
    batch_non_max_suppression {
      score_threshold: SCORE iou_threshold: IOU max_detections_per_class: 40 max_total_detections: 60
    }
    score_converter: SIGMOID
  }
  loss {
    localization_loss { weighted_smooth_l1 { } }
    classification_loss { weighted_sigmoid_focal { gamma: 2.0 alpha: 0.75 } }
  }
  encode_background_as_zeros: true
} }
"""

# name: (score threshold of the NMS inside, whether the outputs have lost their names)
CASES = {
    # As the API's configurations have it: every one of the 60 rows is filled.
    "tensorflow-ssd": ("1e-8", False),
    # Rows left over: they have score 0 and, by the API's own doing, class 1.
    "tensorflow-ssd-padded": ("0.5", False),
    # The same converted from a function that returns a tuple: Identity:0, Identity_1:0, ...
    "tensorflow-ssd-identity": ("0.5", True),
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


def walk(layer):
    """Every layer inside this one, through the lists that the API keeps them in."""
    for part in layer.submodules:
        if isinstance(part, tf.keras.layers.Layer):
            yield part


def fill(model, picture, rng):
    """Random weights that make the network answer differently from place to place."""
    images, shapes = model.preprocess(tf.constant(picture[None].astype(np.float32)))
    model.predict(images, shapes)  # creates the weights
    layers = list({id(layer): layer for layer in walk(model)}.values())
    norms = [layer for layer in layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    for layer in layers:
        if isinstance(layer, tf.keras.layers.DepthwiseConv2D):
            kernel = layer.depthwise_kernel
            fan = np.prod(kernel.shape[:2])
        elif isinstance(layer, tf.keras.layers.Conv2D):
            kernel = layer.kernel
            fan = np.prod(kernel.shape[:3])
        else:
            continue
        kernel.assign(rng.normal(0, np.sqrt(2 / fan), kernel.shape))
    # Normalise to this picture, one layer after the other in the order in which they run.
    # They put values where the activations are nearly straight: a random network that bends
    # at every layer would answer a rounding error with other boxes.
    order = []
    calls = {layer: layer.call for layer in norms}

    def settle(layer):
        def call(values, training=None):
            mean, variance = tf.nn.moments(values, [0, 1, 2])
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance + 1e-4)
            layer.gamma.assign(tf.fill(layer.gamma.shape, 0.5))
            layer.beta.assign(tf.fill(layer.beta.shape, 2.0))
            order.append(layer)
            return calls[layer](values, training=False)
        return call

    for layer in norms:
        layer.call = settle(layer)
    tf.config.run_functions_eagerly(True)
    model.predict(images, shapes)
    tf.config.run_functions_eagerly(False)
    for layer in norms:
        layer.call = calls[layer]
    assert len(order) == len(norms), (len(order), len(norms))
    return images, shapes, layers


def shape_heads(model, images, shapes, layers):
    """Gives the last layers of the head a useful spread of scores and of box sizes."""
    heads = [layer for layer in layers if isinstance(layer, tf.keras.layers.Conv2D)
             and ("BoxEncodingPredictor" in layer.name or "ClassPredictor" in layer.name)]
    assert len(heads) == 12, [layer.name for layer in heads]
    found = {}
    calls = {layer: layer.call for layer in heads}

    def note(layer):
        def call(values):
            found[layer] = calls[layer](values)
            return found[layer]
        return call

    for layer in heads:
        layer.call = note(layer)
    tf.config.run_functions_eagerly(True)
    model.predict(images, shapes)
    tf.config.run_functions_eagerly(False)
    for layer in heads:
        layer.call = calls[layer]
        values = found[layer].numpy()
        spread, centre = (1.5, -3.0) if "ClassPredictor" in layer.name else (0.8, 0.0)
        # The smallest maps have a single place, whose spread says nothing.
        if values.shape[1] * values.shape[2] > 4:
            factor = spread / (values.std(axis=(0, 1, 2)) + 1e-6)
        else:
            factor = np.full(values.shape[-1], 0.2)
        shift = centre - (values.mean(axis=(0, 1, 2)) - layer.bias.numpy()) * factor
        layer.kernel.assign(layer.kernel * factor)
        layer.bias.assign(shift)


def export(name, work, picture, seed):
    """A SavedModel by the API's own exporter."""
    score = CASES[name][0]
    text = SSD
    for word, value in {"HEIGHT": HEIGHT, "WIDTH": WIDTH, "IOU": IOU, "SCORE": score}.items():
        text = text.replace(word, str(value))
    pipeline = text_format.Parse(text, pipeline_pb2.TrainEvalPipelineConfig())
    tf.keras.backend.clear_session()
    tf.random.set_seed(seed)
    model = model_builder.build(pipeline.model, is_training=False)
    images, shapes, layers = fill(model, picture, np.random.default_rng(seed))
    shape_heads(model, images, shapes, layers)
    checkpoint = tf.train.Checkpoint(model=model)
    tf.train.CheckpointManager(checkpoint, str(work / "trained"), max_to_keep=1).save(0)
    exporter_lib_v2.export_inference_graph("image_tensor", pipeline, str(work / "trained"), str(work / "exported"))
    return work / "exported" / "saved_model"


def convert(name, saved, onnx_file):
    """An ONNX file by tf2onnx."""
    nameless = CASES[name][1]
    if nameless:
        loaded = tf.saved_model.load(str(saved))  # owns the variables, so it must stay
        signature = loaded.signatures["serving_default"]

        @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")])
        def detect(input_tensor):
            answers = signature(input_tensor=input_tensor)
            return tuple(answers[key] for key in sorted(answers))

        tf2onnx.convert.from_function(detect, input_signature=detect.input_signature, opset=17,
                                      output_path=str(onnx_file))
    else:
        subprocess.run([sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(saved),
                        "--output", str(onnx_file), "--opset", "17"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows_of(answers):
    """(class from 1, score, x1, y1, x2, y2 in pixels) for each of the counted rows."""
    count = int(answers["num_detections"][0])
    boxes = answers["detection_boxes"][0, :count][:, [1, 0, 3, 2]] * np.array([WIDTH, HEIGHT] * 2, np.float32)
    return np.column_stack([answers["detection_classes"][0, :count],
                            answers["detection_scores"][0, :count], boxes])


def ask_tensorflow(saved, picture):
    loaded = tf.saved_model.load(str(saved))
    answers = loaded.signatures["serving_default"](input_tensor=tf.constant(picture[None]))
    return {key: value.numpy() for key, value in answers.items()}


def ask_onnx(onnx_file, picture, keys):
    session = onnxruntime.InferenceSession(str(onnx_file), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    wanted = ["Identity:0" if n == 0 else f"Identity_{n}:0" for n in range(len(keys))] \
        if names[0].startswith("Identity") else keys
    assert names == wanted, names
    (entry,) = session.get_inputs()
    return dict(zip(keys, session.run(None, {entry.name: picture[None]})))


def choose(scores):
    """A confidence in the widest gap of the scores that leaves between 6 and 40 of them."""
    scores = np.sort(scores)[::-1]
    ranks = range(6, min(40, len(scores) - 1))
    best = max(ranks, key=lambda rank: scores[rank - 1] - scores[rank])
    confidence = round(float(scores[best - 1] + scores[best]) / 2, 4)
    return confidence if np.abs(scores - confidence).min() > 2.5e-3 else None


def make(name, target, work, seed):
    yuv, rgb = draw(seed)
    saved = export(name, work, rgb, seed)
    answers = ask_tensorflow(saved, rgb)
    rows = rows_of(answers)
    if len(rows) < 8:
        return f"only {len(rows)} boxes"
    if "padded" in name or "identity" in name:
        if len(rows) == len(answers["detection_scores"][0]):
            return "no row is left over"
        if (answers["detection_classes"][0, len(rows):] != 1).any():
            return "a row left over has another class than 1"
    confidence = choose(rows[:, 1])
    if confidence is None:
        return "no gap between the scores"
    rows = rows[rows[:, 1] >= confidence]
    onnx_file = work / "model.onnx"
    convert(name, saved, onnx_file)
    # The ONNX file must say the same. (The input is whole numbers, so nobody's picture can be
    # a little off and this is all that there is to be steady against.)
    other = rows_of(ask_onnx(onnx_file, rgb, sorted(answers)))
    other = other[other[:, 1] >= confidence]
    if len(other) != len(rows) or (other[:, 0] != rows[:, 0]).any():
        return "the ONNX file answers otherwise"
    if np.abs(other[:, 1] - rows[:, 1]).max() > 5e-4 or np.abs(other[:, 2:] - rows[:, 2:]).max() > 0.02:
        return "the ONNX file answers otherwise"
    case = target / name
    case.mkdir(parents=True, exist_ok=True)
    (case / "model.onnx").write_bytes(onnx_file.read_bytes())
    if CASES[name][1]:
        # Nothing in the file says which output is which.
        read = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")
        numbers = [sorted(answers).index(key) for key in read]
        names = ["Identity:0" if number == 0 else f"Identity_{number}:0" for number in numbers]
        (case / "model.toml").write_text(f'head = "tf-detection"\noutputs = {json.dumps(names)}\nstride = 1\n')
    (case / "picture.yuv").write_bytes(yuv.tobytes())
    (case / "expected.json").write_text(json.dumps({
        "library": f"tf-models-research-object-detection {version('tf-models-research-object-detection')}, "
                   f"tensorflow {tf.__version__}, tf2onnx {tf2onnx.__version__}",
        "width": WIDTH, "height": HEIGHT, "confidence": confidence, "iou": IOU,
        "family": "tensorflow-object-detection-api",
        "detections": [{"class_id": int(row[0]), "score": float(row[1]), "box": [float(v) for v in row[2:]]}
                       for row in rows]}, indent=1) + "\n")
    print(f"{name}: {len(rows)} detections at {confidence} (seed {seed}), "
          f"{(case / 'model.onnx').stat().st_size // 1024} KiB", flush=True)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", choices=sorted(CASES))
    arguments = parser.parse_args()
    tf.get_logger().setLevel("ERROR")
    for name in arguments.only or CASES:
        for seed in range(1, 11):
            with tempfile.TemporaryDirectory() as work:
                reason = make(name, arguments.folder, Path(work), seed)
            if reason is None:
                break
            print(f"{name}: seed {seed} does not serve: {reason}", flush=True)
        else:
            sys.exit(f"{name}: no seed served")


if __name__ == "__main__":
    main()
