#!/usr/bin/env python3
"""Detects in many videos at once the straightforward way: PyAV, PyTorch, Ultralytics' YOLO11n with random weights.

    pytorch_pipeline.py VIDEO [--sources 32] [--processes 1] [--decode software] [--half] [--batch 32] [--device cuda]

Each source is a thread that decodes VIDEO again and again and hands over its planes; one thread of each process takes what
there is, up to a batch, uploads it, converts and scales it on the device, and runs the model and the NMS. Prints one line
of JSON: frames per second of all sources together, after a warm-up.
"""

import argparse
import json
import multiprocessing
import os
import queue
import threading
import time

# Neither reports nor downloads: read when the package is imported.
os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")

import av  # noqa: E402
import av.codec.hwaccel  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
import ultralytics  # noqa: E402

SIDE, SEED, GREY = 640, 11, 114 / 255
# From BT.601 of limited range to RGB of 0 to 1, for Y, U and V of 0 to 255.
TO_RGB = [[1.164, 0.0, 1.596], [1.164, -0.392, -0.813], [1.164, 2.017, 0.0]]


class Detector:
    def __init__(self, arguments):
        self.device = torch.device(arguments.device)
        self.type = torch.float16 if arguments.half else torch.float32
        self.confidence, self.iou = arguments.confidence, arguments.iou
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(SEED)
        model = ultralytics.YOLO("yolo11n.yaml").model.float().eval().fuse(verbose=False)
        self.model = model.to(self.device, self.type)
        self.to_rgb = torch.tensor(TO_RGB, device=self.device, dtype=self.type)
        self.offset = torch.tensor([16.0, 128.0, 128.0], device=self.device, dtype=self.type)

    @torch.inference_mode()
    def detect(self, pictures):
        """Boxes in pixels of the input, scores and classes of each picture. All pictures are of one size."""
        planes = torch.from_numpy(np.stack(pictures))
        if self.device.type == "cuda":
            planes = planes.pin_memory().to(self.device, non_blocking=True)
        outputs = self.model(self.letterbox(planes))
        outputs = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        return [self.suppress(output) for output in outputs.transpose(1, 2)]

    def letterbox(self, planes):
        """From I420, of rows by columns with both chromas below the luma, to the model's input."""
        count, rows, width = planes.shape
        height = rows * 2 // 3
        luma = planes[:, :height].unsqueeze(1)
        chroma = planes[:, height:].reshape(count, 2, height // 2, width // 2)
        ratio = min(SIDE / height, SIDE / width)
        size = (round(height * ratio), round(width * ratio))
        yuv = [torch.nn.functional.interpolate(plane.to(self.type), size, mode="bilinear") for plane in (luma, chroma)]
        yuv = torch.cat(yuv, 1) - self.offset.view(1, 3, 1, 1)
        rgb = (torch.einsum("cd,ndhw->nchw", self.to_rgb, yuv) / 255).clamp(0, 1)
        top, left = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
        around = (left, SIDE - size[1] - left, top, SIDE - size[0] - top)
        return torch.nn.functional.pad(rgb, around, value=GREY)

    def suppress(self, output):
        scores, classes = output[:, 4:].max(1)
        keep = scores >= self.confidence
        boxes, scores, classes = output[keep, :4].float(), scores[keep].float(), classes[keep]
        corners = torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
        kept = torchvision.ops.batched_nms(corners, scores, classes, self.iou)
        return torch.cat([corners[kept], scores[kept, None], classes[kept, None].float()], 1).cpu()


def decode(arguments, frames, stop):
    """A source, without end."""
    how = {}
    if arguments.decode == "nvdec":
        how["hwaccel"] = av.codec.hwaccel.HWAccel("cuda", allow_software_fallback=False)
    while not stop.is_set():
        with av.open(arguments.video, **how) as container:
            stream = container.streams.video[0]
            if arguments.decode == "software":
                # One thread each: there are more sources than cores.
                stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                hand_over(frames, frame.to_ndarray(format="yuv420p"), stop)
                if stop.is_set():
                    break


def hand_over(frames, planes, stop):
    while not stop.is_set():
        try:
            return frames.put(planes, timeout=0.1)
        except queue.Full:
            pass


def take(frames, most):
    """What there is, at least one and at most so many."""
    pictures = [frames.get()]
    while len(pictures) < most:
        try:
            pictures.append(frames.get_nowait())
        except queue.Empty:
            break
    return pictures


def work(arguments, sources, all_ready):
    """Frames and seconds after the warm-up, and seconds of the processor meanwhile."""
    detector = Detector(arguments)
    frames, stop = queue.Queue(2 * arguments.batch), threading.Event()
    threads = [threading.Thread(target=decode, args=(arguments, frames, stop), daemon=True) for _ in range(sources)]
    for thread in threads:
        thread.start()
    warm = time.perf_counter() + arguments.warm_up
    while time.perf_counter() < warm:
        detector.detect(take(frames, arguments.batch))
    if all_ready:
        all_ready.wait()
    count, start, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < arguments.seconds:
        pictures = take(frames, arguments.batch)
        detector.detect(pictures)
        count += len(pictures)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    stop.set()
    for thread in threads:
        thread.join()
    return count, seconds, processor


def in_a_process(arguments, sources, all_ready, results):
    results.put(work(arguments, sources, all_ready))


def measure(arguments):
    if arguments.processes == 1:
        return [work(arguments, arguments.sources, None)]
    context = multiprocessing.get_context("spawn")
    all_ready, results = context.Barrier(arguments.processes), context.Queue()
    shares = [len(range(i, arguments.sources, arguments.processes)) for i in range(arguments.processes)]
    processes = [
        context.Process(target=in_a_process, args=(arguments, share, all_ready, results)) for share in shares
    ]
    for process in processes:
        process.start()
    measured = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return measured


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--sources", type=int, default=32)
    parser.add_argument("--processes", type=int, default=1, help="each with a model and a part of the sources")
    parser.add_argument("--decode", choices=["software", "nvdec"], default="software")
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--confidence", type=float, default=0.25)
    parser.add_argument("--iou", type=float, default=0.45)
    parser.add_argument("--warm-up", type=float, default=3.0, help="seconds")
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    if not 1 <= arguments.processes <= arguments.sources:
        parser.error("take at least one source for each process")
    measured = measure(arguments)
    frames = sum(count for count, _, _ in measured)
    told = {
        "sources": arguments.sources,
        "processes": arguments.processes,
        "decode": arguments.decode,
        "type": "fp16" if arguments.half else "fp32",
        "frames_per_second": sum(count / seconds for count, seconds, _ in measured),
        "processor_ms_per_frame": 1000 * sum(processor for _, _, processor in measured) / max(frames, 1),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
