"""Makes test cases with Hugging Face Transformers: python transformers_cases.py FOLDER [case...]"""

import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers as hf

from shared import alike, best_threshold, first_steady, picture, save, settle_norms, spread, unrounded

WIDTH, HEIGHT, CLASSES = 160, 128, 3
LIBRARY = f"transformers {hf.__version__}"

RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1], "layer_type": "basic"}
SMALL_DETR = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_queries": 30,
    "num_labels": CLASSES,
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
}
SMALL_RTDETR = {
    "d_model": 32,
    "encoder_hidden_dim": 32,
    "encoder_in_channels": [16, 16, 32],
    "decoder_in_channels": [32, 32, 32],
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_queries": 40,
    "num_labels": CLASSES,
    "hidden_expansion": 0.5,
}
SMALL_DEFORMABLE = {key: value for key, value in SMALL_DETR.items() if "backbone" not in key} | {
    "num_feature_levels": 4,
    "disable_custom_kernels": True,
}
SMALL_LW = {
    "projector_scale_factors": [1.0],
    "d_model": 32,
    "decoder_layers": 2,
    "decoder_ffn_dim": 64,
    "decoder_self_attention_heads": 4,
    "decoder_cross_attention_heads": 4,
    "num_queries": 30,
    "group_detr": 1,
    "num_labels": CLASSES,
}
SMALL_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": HEIGHT,
    "pretrain_image_size": 64,
    "window_block_indices": [0],
    "out_indices": [1, 2, 3],
    "num_windows": 4,
}
SMALL_YOLOS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": [HEIGHT, WIDTH],
    "num_detection_tokens": 30,
    "num_labels": CLASSES,
}


def resnet(*stages):
    return hf.ResNetConfig(**RESNET, out_features=list(stages))


def rtdetr_resnet():
    return hf.RTDetrResNetConfig(**RESNET, out_features=["stage2", "stage3", "stage4"])


def detr():
    return hf.DetrForObjectDetection(hf.DetrConfig(backbone_config=resnet("stage4"), **SMALL_DETR))


def conditional():
    return hf.ConditionalDetrForObjectDetection(
        hf.ConditionalDetrConfig(backbone_config=resnet("stage4"), **SMALL_DETR)
    )


def deformable():
    backbone = resnet("stage2", "stage3", "stage4")
    return hf.DeformableDetrForObjectDetection(hf.DeformableDetrConfig(backbone_config=backbone, **SMALL_DEFORMABLE))


def lw_detr():
    return hf.LwDetrForObjectDetection(hf.LwDetrConfig(backbone_config=hf.LwDetrViTConfig(**SMALL_VIT), **SMALL_LW))


def rtdetr():
    return hf.RTDetrForObjectDetection(hf.RTDetrConfig(backbone_config=rtdetr_resnet(), **SMALL_RTDETR))


def rtdetr_v2():
    return hf.RTDetrV2ForObjectDetection(hf.RTDetrV2Config(backbone_config=rtdetr_resnet(), **SMALL_RTDETR))


def dfine():
    return hf.DFineForObjectDetection(hf.DFineConfig(backbone_config=rtdetr_resnet(), **SMALL_RTDETR))


def yolos():
    return hf.YolosForObjectDetection(hf.YolosConfig(**SMALL_YOLOS))


SHORT_SIDE = {"size": {"shortest_edge": HEIGHT, "longest_edge": WIDTH}}
STRETCHED = {"size": {"height": HEIGHT, "width": WIDTH}}
# case: network, image processor, its size, whether the graph takes a mask
CASES = {
    "transformers-detr": (detr, hf.DetrImageProcessor, SHORT_SIDE, True),
    "transformers-detr-without-mask": (detr, hf.DetrImageProcessor, SHORT_SIDE, False),
    "transformers-conditional-detr": (conditional, hf.ConditionalDetrImageProcessor, SHORT_SIDE, True),
    "transformers-deformable-detr": (deformable, hf.DeformableDetrImageProcessor, SHORT_SIDE, False),
    "transformers-lw-detr": (lw_detr, hf.DeformableDetrImageProcessor, SHORT_SIDE, False),
    "transformers-yolos": (yolos, hf.YolosImageProcessor, SHORT_SIDE, False),
    "transformers-rtdetr": (rtdetr, hf.RTDetrImageProcessor, STRETCHED, False),
    "transformers-rtdetr-v2": (rtdetr_v2, hf.RTDetrImageProcessor, STRETCHED, False),
    "transformers-dfine": (dfine, hf.RTDetrImageProcessor, STRETCHED, False),
}
# Its file does not tell it from those that are not normalised.
SAYS_VALUES = (lw_detr,)
# The older exporter makes a GridSample of doubles of it, which ONNX Runtime does not have.
NEW_EXPORTER = (deformable,)


class Exported(torch.nn.Module):
    """Inputs and outputs as the family's exporter names them."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values, pixel_mask=None):
        mask = {} if pixel_mask is None else {"pixel_mask": pixel_mask}
        output = self.model(pixel_values=pixel_values, **mask)
        return output.logits, output.pred_boxes


def score_layers(model):
    """The last layers of the scores, wherever this family keeps them."""
    found = []
    for name, layer in model.named_modules():
        last = isinstance(layer, torch.nn.Linear) and layer.out_features in (CLASSES, CLASSES + 1)
        # A box has four numbers, as three classes and the background have.
        if last and not any(part in name for part in ("bbox", "reg_conf")):
            found.append(name)
    return found


def box_layer(model):
    """The last layer of the boxes, where there is one head for all."""
    return [n for n, layer in model.named_modules() if isinstance(layer, torch.nn.Linear) and "bbox_predictor" in n][-1]


def tell_queries_apart(model):
    """Queries and attention start out so weak that all queries would see the same."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(layer.weight, gain=1.5)
    for name, parameter in model.named_parameters():
        if "query_position_embeddings" in name or "detection_tokens" in name:
            torch.nn.init.normal_(parameter, std=3.0)


def build(network, x, seed):
    torch.manual_seed(seed)
    model = network().eval()
    if network in (detr, conditional, yolos):
        tell_queries_apart(model)
    run = lambda: model(pixel_values=x)
    settle_norms(model, lambda: model(pixel_values=torch.cat([x, x.flip(-1)])))
    for name in score_layers(model):
        spread(model, [name], run, -1.0, 1.5)
    if network in (detr, conditional, yolos):
        spread(model, [box_layer(model)], run, 0.0, 0.8)
    return model


def export(network, model, inputs, file):
    names = {"input_names": list(inputs), "output_names": ["logits", "pred_boxes"]}
    new = network in NEW_EXPORTER
    how = {"opset_version": 18, "dynamo": True, "external_data": False} if new else {"opset_version": 17, "dynamo": False}
    torch.onnx.export(Exported(model), tuple(inputs.values()), file, **names, **how)


def make(folder, case):
    network, processor_class, size, masked = CASES[case]
    processor = processor_class(**size)
    yuv, rgb = picture(WIDTH, HEIGHT, seed=3)
    names = ("pixel_values", "pixel_mask")[: 1 + masked]
    prepare = lambda pixels: processor(images=pixels, return_tensors="pt", input_data_format="channels_last")
    inputs, inputs_unrounded = ({name: prepare(pixels)[name] for name in names} for pixels in (rgb, unrounded(yuv)))
    assert inputs["pixel_values"].shape == (1, 3, HEIGHT, WIDTH), inputs["pixel_values"].shape

    def attempt(seed):
        model = build(network, inputs["pixel_values"], seed)
        with torch.no_grad():
            said, said_unrounded = model(**inputs), model(**inputs_unrounded)

        def detect(confidence, _iou, said=said):
            found = processor.post_process_object_detection(said, threshold=confidence, target_sizes=[(HEIGHT, WIDTH)])[
                0
            ]
            return list(zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist()))

        confidence = best_threshold(detect, 0.5, yuv)
        if confidence is None or not alike(detect(confidence, 0.5), detect(confidence, 0.5, said_unrounded)):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "model.onnx"
            export(network, model, inputs, file)
            family = case.replace("-", " ", 1)
            about = {"library": LIBRARY, "family": family, "confidence": confidence, "iou": 1.0}
            save(folder, case, file, yuv, **about, detections=detect(confidence, 0.5))
        if network in SAYS_VALUES:
            values = f"mean = {list(processor.image_mean)}\nstd = {list(processor.image_std)}\n"
            (Path(folder) / case / "model.toml").write_text(values)
        return case

    first_steady(attempt)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[2:] or CASES:
        make(sys.argv[1], name)
