#!/usr/bin/env python3
"""Measures detections and tracks against the truth of the sample clip.

    evaluate.py --tracks tracks.parquet [--truth street.truth.csv] [--min-map50 0.85] [--min-mota 0.8] [--min-idf1 0.8]
    evaluate.py --self-check

Detection: mAP as COCO defines it (pycocotools), over all rows. Tracking: MOTA and IDF1 (motmetrics) at IoU 0.5, over
the rows that have a track; a match needs the same class. Truth rows that are hardly visible are ignored: missing one
costs nothing, and a prediction that fits one, and no other truth, is dropped instead of counted as false.

Prints one JSON object; exits with 1 if a figure is below its limit.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

import motmetrics
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.optimize import linear_sum_assignment

from street import IGNORED_BELOW

MATCH_IOU = 0.5
CORNERS = ["x1", "y1", "x2", "y2"]


def main():
    arguments = _arguments()
    if arguments.self_check:
        self_check(arguments.truth)
        return
    figures = evaluate(read_truth(arguments.truth), read_tracks(arguments.tracks))
    print(json.dumps(figures))
    limits = {"map50": arguments.min_map50, "mota": arguments.min_mota, "idf1": arguments.min_idf1}
    low = [f"{name} {figures[name]:.3f} is below {limit}" for name, limit in limits.items() if figures[name] < limit]
    if low:
        sys.exit("; ".join(low))


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracks", help="tracks.parquet of a run on the clip")
    parser.add_argument("--truth", default=Path(__file__).with_name("street.truth.csv"))
    parser.add_argument("--min-map50", type=float, default=-np.inf)
    parser.add_argument("--min-mota", type=float, default=-np.inf)
    parser.add_argument("--min-idf1", type=float, default=-np.inf)
    parser.add_argument("--self-check", action="store_true", help="check this program against known answers")
    arguments = parser.parse_args()
    if not arguments.self_check and not arguments.tracks:
        parser.error("--tracks is needed, or --self-check")
    return arguments


def read_truth(path):
    """The truth with a column `ignored`."""
    truth = pd.read_csv(path)
    truth["ignored"] = truth["visible"] < IGNORED_BELOW
    return truth


def read_tracks(path):
    """frame, track_id (nullable), class, score and corners of every detection."""
    table = pq.read_table(path, columns=["frame", "track_id", "class", "score", *CORNERS])
    tracks = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    tracks["class"] = tracks["class"].astype(str)
    tracks["frame"] = tracks["frame"].astype(np.int64)
    return tracks


def evaluate(truth, tracks):
    """All figures as one dictionary."""
    beyond = tracks.loc[~tracks["frame"].isin(range(truth["frame"].max() + 1)), "frame"]
    if len(beyond):
        sys.exit(f"frame {beyond.iloc[0]} has no truth: are these tracks of another video?")
    figures = average_precision(truth, tracks)
    figures.update(tracking(truth, tracks[tracks["track_id"].notna()]))
    figures["truth_boxes"] = int((~truth["ignored"]).sum())
    figures["ignored_boxes"] = int(truth["ignored"].sum())
    figures["detections"] = len(tracks)
    return figures


def average_precision(truth, detections):
    """mAP at IoU 0.5 and over 0.5 to 0.95, and AP at 0.5 per class."""
    names = sorted(truth["class"].unique())
    category = {name: index + 1 for index, name in enumerate(names)}
    known = detections[detections["class"].isin(category)]
    if known.empty:
        return {"map50": 0.0, "map50_95": 0.0, "ap50": dict.fromkeys(names, 0.0)}
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(_coco_truth(truth, category), None, "bbox")
        judge.cocoDt = judge.cocoGt.loadRes(_coco_detections(known, category))
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    precision = judge.eval["precision"][0, :, :, 0, -1]
    ap50 = {name: float(precision[:, index].mean()) for index, name in enumerate(names)}
    return {"map50": float(judge.stats[1]), "map50_95": float(judge.stats[0]), "ap50": ap50}


def _coco_truth(truth, category):
    """pycocotools ignores truths whose area is out of range; with `iscrowd` it would measure overlap otherwise."""
    dataset = {
        "info": {},
        "images": [{"id": int(frame)} for frame in range(truth["frame"].max() + 1)],
        "categories": [{"id": number, "name": name} for name, number in category.items()],
        "annotations": [
            {
                "id": number + 1,
                "image_id": row.frame,
                "category_id": category[row.kind],
                "bbox": [row.x1, row.y1, row.x2 - row.x1, row.y2 - row.y1],
                "area": 1e12 if row.ignored else (row.x2 - row.x1) * (row.y2 - row.y1),
                "iscrowd": 0,
            }
            for number, row in enumerate(truth.rename(columns={"class": "kind"}).itertuples())
        ],
    }
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def _coco_detections(detections, category):
    return [
        {
            "image_id": row.frame,
            "category_id": category[row.kind],
            "bbox": [float(row.x1), float(row.y1), float(row.x2 - row.x1), float(row.y2 - row.y1)],
            "score": float(row.score),
        }
        for row in detections.rename(columns={"class": "kind"}).itertuples()
    ]


def tracking(truth, tracks):
    """MOTA (Bernardin and Stiefelhagen 2008), IDF1 (Ristani et al. 2016) and what they are made of."""
    accumulator = motmetrics.MOTAccumulator()
    truths, predictions = dict(list(truth.groupby("frame"))), dict(list(tracks.groupby("frame")))
    for frame in range(truth["frame"].max() + 1):
        present = truths.get(frame, truth.iloc[:0])
        wanted, ignored = present[~present["ignored"]], present[present["ignored"]]
        found = predictions.get(frame, tracks.iloc[:0])
        found = found[~_fits_ignored(wanted, ignored, found)]
        overlap = class_overlap(wanted, found)
        distance = np.where(overlap >= MATCH_IOU, 1 - overlap, np.nan)
        accumulator.update(wanted["id"].tolist(), found["track_id"].tolist(), distance, frameid=frame)
    return _motmetrics_figures(accumulator)


def _fits_ignored(wanted, ignored, found):
    """Which predictions fit an ignored truth, among those that the truths that count leave over."""
    free = np.ones(len(found), bool)
    free[_match(class_overlap(wanted, found))] = False
    dropped = np.zeros(len(found), bool)
    left = np.flatnonzero(free)
    dropped[left[_match(class_overlap(ignored, found.iloc[left]))]] = True
    return dropped


def _match(overlap):
    """Columns matched by the assignment with the most overlap, among pairs that overlap enough."""
    rows, columns = linear_sum_assignment(np.where(overlap >= MATCH_IOU, overlap, 0), maximize=True)
    return columns[overlap[rows, columns] >= MATCH_IOU]


def class_overlap(first, second):
    """IoU of every pair of boxes, 0 where the classes differ; shape (len(first), len(second))."""
    a, b = first[CORNERS].to_numpy(np.float64)[:, None], second[CORNERS].to_numpy(np.float64)[None]
    size = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    shared = size.prod(axis=2)
    union = (a[..., 2:] - a[..., :2]).prod(axis=2) + (b[..., 2:] - b[..., :2]).prod(axis=2) - shared
    same = first["class"].to_numpy()[:, None] == second["class"].to_numpy()[None]
    return np.where(same, shared / union, 0.0)


def _motmetrics_figures(accumulator):
    names = {
        "mota": "mota",
        "idf1": "idf1",
        "num_switches": "switches",
        "num_fragmentations": "fragmentations",
        "num_misses": "misses",
        "num_false_positives": "false_positives",
        "num_unique_objects": "truth_tracks",
        "mostly_tracked": "mostly_tracked",
    }
    summary = motmetrics.metrics.create().compute(accumulator, metrics=list(names), name="clip")
    whole = {"mota", "idf1"}
    return {
        ours: float(summary.loc["clip", theirs]) if ours in whole else int(summary.loc["clip", theirs])
        for theirs, ours in names.items()
    }


def self_check(truth_path):
    """The truth itself must score 1; a shift by half a box and shuffled identities must not pass."""
    truth = read_truth(truth_path)
    perfect = evaluate(truth, _through_parquet(_tracks_from(truth)))
    _expect(min(perfect["map50"], perfect["mota"], perfect["idf1"]) > 0.999, "the truth itself", perfect)

    shifted = _tracks_from(truth)
    shifted[["x1", "x2"]] += 0.5 * (shifted["x2"] - shifted["x1"]).to_numpy()[:, None]
    figures = evaluate(truth, _through_parquet(shifted))
    _expect(max(figures["map50"], figures["mota"], figures["idf1"]) < 0.5, "boxes shifted by half their width", figures)

    shuffled = _tracks_from(truth)
    rng = np.random.default_rng(0)
    shuffled["track_id"] = shuffled.groupby("frame")["track_id"].transform(lambda ids: rng.permutation(ids.to_numpy()))
    figures = evaluate(truth, _through_parquet(shuffled))
    _expect(figures["map50"] > 0.999 and max(figures["mota"], figures["idf1"]) < 0.5, "shuffled identities", figures)

    halved = _tracks_from(truth)
    halved.loc[halved.index % 2 == 0, "track_id"] = pd.NA
    figures = evaluate(truth, _through_parquet(halved))
    _expect(figures["map50"] > 0.999 and 0.4 < figures["mota"] < 0.6, "half of the rows without a track", figures)

    visible = _tracks_from(truth[~truth["ignored"]])
    figures = evaluate(truth, _through_parquet(visible))
    _expect(min(figures["map50"], figures["mota"], figures["idf1"]) > 0.999, "visible truth only", figures)
    print("self-check passed")


def _tracks_from(truth):
    tracks = truth[["frame", "class", *CORNERS]].reset_index(drop=True)
    tracks["track_id"] = truth["id"].astype("Int64").to_numpy()
    tracks["score"] = 0.9
    return tracks


def _through_parquet(tracks):
    """Write and read back in the types the fleet writes."""
    single = pa.float32()
    table = pa.table(
        {
            "frame": pa.array(tracks["frame"], pa.int64()),
            "track_id": pa.array(tracks["track_id"], pa.int64(), from_pandas=True),
            "class": pa.array(tracks["class"], pa.string()).dictionary_encode(),
            "score": pa.array(tracks["score"], single),
            **{name: pa.array(tracks[name], single) for name in CORNERS},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tracks.parquet"
        pq.write_table(table, path)
        return read_tracks(path)


def _expect(holds, what, figures):
    if not holds:
        sys.exit(f"self-check failed for {what}: {json.dumps(figures)}")


if __name__ == "__main__":
    main()
