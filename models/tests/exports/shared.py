"""What the scripts of this folder share: pictures, calm random networks, and the form of a case."""

import json
import shutil
from pathlib import Path

import numpy as np

# What a detector may differ by without failing the test that reads the cases; no detection may hang on less.
MARGIN = 2e-3
FEWEST, MOST = 3, 60


def exact_chroma(tolerance=0.017):
    """The (U, V) pairs whose share in R, G and B is within `tolerance` of whole numbers, and that some luma fits."""
    u, v = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    shares = chroma_shares(u, v)
    good = (np.abs(shares - np.round(shares)) <= tolerance).all(axis=-1)
    room = 255 - (shares.max(axis=-1) - shares.min(axis=-1))
    return np.argwhere(good & (room >= 10))


def chroma_shares(u, v):
    """What chroma adds to luma in R, G and B: BT.601, full range."""
    u, v = np.asarray(u, float) - 128, np.asarray(v, float) - 128
    return np.stack([1.402 * v, -0.344136 * u - 0.714136 * v, 1.772 * u], axis=-1)


def unrounded(yuv):
    """RGB as a detector sees it that does not round between YUV and its input: f32, 0 to 255."""
    return (yuv[0][..., None].astype(float) + chroma_shares(yuv[1], yuv[2])).clip(0, 255).astype(np.float32)


def alike(some, others, score=4e-4, pixels=0.1):
    """Whether two lists of detections are closer than a test would ask for."""
    if len(some) != len(others):
        return False
    order = lambda found: (found[0], -found[1])
    for one, other in zip(sorted(some, key=order), sorted(others, key=order)):
        far = np.abs(np.subtract(one[2], other[2])).max() > pixels
        if one[0] != other[0] or abs(one[1] - other[1]) > score or far:
            return False
    return True


def waves(height, width, random):
    """A smooth field between 0 and 1."""
    y, x = np.mgrid[0:height, 0:width]
    field = np.zeros((height, width))
    for _ in range(6):
        pitch_y, pitch_x, phase = random.uniform(-0.5, 0.5), random.uniform(-0.5, 0.5), random.uniform(0, 7)
        field += np.sin(pitch_y * y + pitch_x * x + phase)
    return (field - field.min()) / (field.max() - field.min())


def picture(width, height, seed=1):
    """Blobs as (YUV planes [3,H,W], RGB [H,W,3]), both u8, that say the same but for a sixtieth of a step."""
    random = np.random.default_rng(seed)
    pairs = exact_chroma()
    sites = random.uniform(0, 1, (20, 2)) * [height, width]
    y, x = np.mgrid[0:height, 0:width]
    nearest = np.argmin((y[..., None] - sites[:, 0]) ** 2 + (x[..., None] - sites[:, 1]) ** 2, axis=-1)
    # Most blobs are grey, which is exact; the others are there so that an exchange of red and blue is seen.
    grey = np.flatnonzero((pairs == 128).all(axis=-1))[0]
    kinds = np.where(np.arange(len(sites)) % 4 == 0, random.integers(0, len(pairs), len(sites)), grey)
    u, v = pairs[kinds][nearest].transpose(2, 0, 1)
    shares = np.round(chroma_shares(u, v))
    # Luma stays where no channel leaves 0..255, so nothing is clipped.
    low = np.maximum(0, -shares.min(axis=-1))
    high = np.minimum(255, 255 - shares.max(axis=-1))
    luma = np.floor(low + (high - low) * waves(height, width, random))
    rgb = (luma[..., None] + shares).astype(np.uint8)
    return np.stack([luma, u, v]).astype(np.uint8), rgb


def spread(model, layers, run, mean, deviation):
    """Rescales the named last layers, so that over one picture they say `mean` give or take `deviation`.

    Random weights give scores that are all alike; a test needs some above a threshold and some below.
    """
    import torch

    for name in layers:
        layer = model.get_submodule(name)
        said = []
        hook = layer.register_forward_hook(lambda _, __, output: said.append(output.detach()))
        with torch.no_grad():
            run()
        hook.remove()
        if not said:
            continue  # a layer for training only
        said = torch.cat([output.flatten() for output in said])
        factor = deviation / said.std().clamp(min=1e-9)
        with torch.no_grad():
            layer.weight.mul_(factor)
            if layer.bias is None:
                layer.bias = torch.nn.Parameter(torch.zeros(layer.weight.shape[0]))
            layer.bias.mul_(factor).add_(mean - said.mean() * factor)


def settle_norms(model, run):
    """Gives batch norms the statistics of one picture, so that values neither die out nor grow on their way."""
    import torch

    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
    model.eval()
    for norm in norms:
        # Small values stay where activations are nearly straight, and a random network is less chaotic there.
        torch.nn.init.constant_(norm.weight, 0.3)
        norm.momentum = 1.0
        norm.train()
    with torch.no_grad():
        run()
    for norm in norms:
        norm.eval()
        norm.momentum = 0.1
        # A channel in which nothing happens would be blown up until rounding errors are seen.
        norm.running_var.clamp_(min=float(norm.running_var.median()) * 0.5)


def best_threshold(detect, iou, yuv, candidates=np.arange(0.97, 0.04, -0.01)):
    """A confidence at which enough is detected and nothing hangs on a hair, or None.

    `detect(confidence, iou)` is the family's own way from the picture to detections.
    """
    best = None
    for confidence in candidates:
        confidence = round(float(confidence), 3)
        found = detect(confidence, iou)
        if not FEWEST <= len(found) <= MOST or not telling(found, yuv):
            continue
        near = [
            (confidence - MARGIN, iou),
            (confidence + MARGIN, iou),
            (confidence, iou - MARGIN),
            (confidence, iou + MARGIN),
        ]
        if any(len(detect(*limits)) != len(found) for limits in near):
            continue
        if best is None or abs(len(found) - 15) < abs(best[1] - 15):
            best = (confidence, len(found))
    return best and best[0]


def telling(found, yuv):
    """Whether several classes are seen, in boxes of which enough is in the picture to compare them."""
    boxes = np.array([clipped(box, yuv) for _, _, box in found])
    sides = boxes[:, 2:] - boxes[:, :2]
    return len({n for n, _, _ in found}) > 1 and sides.min() >= 4


def clipped(box, yuv):
    _, height, width = yuv.shape
    return [float(min(max(value, 0), limit)) for value, limit in zip(box, [width, height, width, height])]


def first_steady(attempt, seeds=range(1, 40)):
    """What `attempt(seed)` gives for the first seed with which it does not give None."""
    for seed in seeds:
        made = attempt(seed)
        if made is not None:
            return made
    raise SystemExit("no seed gives detections that are fit for a test")


def save(folder, case, model, yuv, *, library, family, confidence, iou, detections):
    """Writes one case: `detections` are (class, score, [x1, y1, x2, y2]) in pixels of the picture."""
    _, height, width = yuv.shape
    target = Path(folder) / case
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model, target / "model.onnx")
    (target / "picture.yuv").write_bytes(yuv.tobytes())
    found = [
        {"class_id": int(n), "score": float(score), "box": clipped(box, yuv)}
        for n, score, box in sorted(detections, key=lambda found: -found[1])
    ]
    assert FEWEST <= len(found) <= MOST, len(found)
    expected = {
        "library": library,
        "family": family,
        "width": width,
        "height": height,
        "confidence": confidence,
        "iou": iou,
        "detections": found,
    }
    (target / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"{case}: {len(found)} above {confidence}, {(target / 'model.onnx').stat().st_size // 1024} KiB")


def rgb_tensor(rgb):
    """[1,3,H,W], 0 to 1, as most families see a picture."""
    import torch

    return torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None] / 255
