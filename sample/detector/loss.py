"""What the net is asked to do: task-aligned assignment, BCE for classes, CIoU for boxes."""

import math

import torch
from torch.nn import functional

from detector.network import STRIDES, cell_centres
from street import IGNORED_BELOW

ANSWERS = 10
"""Positions that answer for one object."""


def detection_loss(scores, boxes, objects, size):
    """Class and box loss of a batch, each divided by the number of answers.

    `scores` and `boxes` as the net gives them; `objects` (batch, most, 6): class or -1, corners, visible share; `size`:
    height and width of the input.
    """
    anchors = torch.cat([cell_centres(size[0] // s, size[1] // s, s, scores.device) for s in STRIDES])
    targets, weights, owners = [], [], []
    for one_scores, one_boxes, one_objects in zip(scores, boxes, objects):
        target, weight, owner = assign(anchors, one_scores.detach().sigmoid(), one_boxes.detach(), one_objects)
        targets.append(target)
        weights.append(weight)
        owners.append(owner)
    target, weight, owner = torch.stack(targets), torch.stack(weights), torch.stack(owners)
    total = target.sum().clamp(min=1)
    class_loss = (
        functional.binary_cross_entropy_with_logits(scores, target, reduction="none") * weight[..., None]
    ).sum()
    answering = owner >= 0
    wanted = objects[..., 1:5].gather(1, owner.clamp(min=0)[..., None].expand(-1, -1, 4))[answering]
    importance = target.amax(-1)[answering]
    box_loss = ((1 - complete_iou(boxes[answering], wanted)) * importance).sum()
    return class_loss / total, box_loss / total


def assign(anchors, probability, boxes, objects):
    """Targets (anchors, classes), weights (anchors,) and the object each anchor answers for, -1 for none.

    Task-aligned assignment (Feng et al. 2021, TOOD, section 3.2): the anchors inside an object that best combine class
    score and overlap answer for it. Unlike the paper the best one's target is 1, not its IoU: trackers start tracks at
    a fixed score, so a visible object shall score near 1. Anchors inside hardly visible objects weigh nothing unless
    they answer for another.
    """
    target = torch.zeros_like(probability)
    weight = torch.ones(len(anchors))
    owner = torch.full((len(anchors),), -1)
    real = objects[:, 0] >= 0
    _, hidden_inside = _inside(anchors, objects[real & (objects[:, 5] < IGNORED_BELOW), 1:5])
    weight[hidden_inside.any(0)] = 0
    rows = torch.nonzero(real & (objects[:, 5] >= IGNORED_BELOW)).flatten()
    if len(rows) == 0:
        return target, weight, owner
    wanted, kind = objects[rows, 1:5], objects[rows, 0].long()
    depth, inside = _inside(anchors, wanted)
    overlap = complete_iou(boxes[None], wanted[:, None]).clamp(min=0)
    alignment = probability.T[kind].clamp(min=1e-6).sqrt() * overlap.clamp(min=1e-3) ** 4 * inside
    # Where no box overlaps yet, the depth keeps the order of candidates definite.
    alignment += 1e-9 * torch.sigmoid(depth) * inside
    best = alignment.topk(min(ANSWERS, alignment.shape[1]), dim=1)
    chosen = torch.zeros_like(alignment).scatter_(1, best.indices, best.values)
    strength, winner = chosen.max(0)
    answering = strength > 0
    relative = strength / chosen.amax(1)[winner].clamp(min=1e-9)
    owner[answering] = rows[winner[answering]]
    target[answering, kind[winner[answering]]] = relative[answering]
    weight[answering] = 1
    return target, weight, owner


def _inside(anchors, boxes):
    """How deep each anchor lies in each box in pixels (boxes, anchors), and whether it does.

    A box too thin to hold any cell centre of stride 8 is widened to one cell.
    """
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=STRIDES[0] * 0.6)
    depth = (half[:, None] - (anchors[None] - middle[:, None]).abs()).amin(-1)
    return depth, depth > 0


def complete_iou(a, b):
    """CIoU (Zheng et al. 2020, section 3): IoU less the distance of centres and the difference of aspect."""
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    size_a, size_b = a[..., 2:] - a[..., :2], (b[..., 2:] - b[..., :2]).clamp(min=1e-3)
    iou = shared / (size_a.prod(-1) + size_b.prod(-1) - shared + 1e-6)
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    between = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    distance = between.square().sum(-1) / (hull.square().sum(-1) + 1e-6)
    aspect = (4 / math.pi**2) * (
        torch.atan(size_b[..., 0] / size_b[..., 1]) - torch.atan(size_a[..., 0] / (size_a[..., 1] + 1e-6))
    ).square()
    with torch.no_grad():
        balance = aspect / (1 - iou + aspect + 1e-6)
    return iou - distance - balance * aspect
