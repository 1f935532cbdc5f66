#!/usr/bin/env python3
"""Submits a video to a FrameFleet, waits until the job has ended, and shows the first rows of its tracks.

    submit.py VIDEO [--model NAME] [--queue NAME] [--results DIR] [--brokers HOST:PORT] [--prefix NAME]

VIDEO is a path as the workers see it, or a URL. Rows are shown where pyarrow is installed and the results are seen from
here. The exit status is 0 if the job succeeded, 1 if not.
"""

import argparse
import json
import os
import sys
import uuid
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).resolve().parents[2] / "contract/schemas"


def main():
    arguments = parse_arguments()
    job_id = f"python-{uuid.uuid4()}"
    request = {
        "kind": "request",
        "version": 1,
        "job_id": job_id,
        "source": arguments.video,
        "queue": arguments.queue,
        "labels": {"client": "submit.py"},
    }
    if arguments.model:
        request["model"] = arguments.model
    # The same check as a worker's: what is wrong is found here, with what is wrong.
    validator("job").validate(request)

    # Before the request, so that the outcome cannot come unseen.
    outcomes = consumer_of_what_comes(arguments)
    send(arguments, request)
    print(job_id, "submitted", flush=True)

    outcome = wait_for(outcomes, job_id)
    outcomes.close()
    validator("outcome").validate(outcome)
    print(job_id, outcome["state"])
    if outcome["state"] != "succeeded":
        print(outcome.get("error", {}).get("message", ""))
        return 1
    for file in outcome["files"]:
        print(f"  {file['path']}  {file['bytes']} bytes  sha256 {file['sha256']}")
    show_rows(Path(arguments.results) / "jobs" / job_id / "tracks.parquet")
    return 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--model", help="a model of the workers' model directory; may be left out where that holds one")
    parser.add_argument("--queue", default="normal")
    parser.add_argument("--results", default=os.environ.get("FRAMEFLEET_RESULTS", "runs"), help="the results volume")
    parser.add_argument("--brokers", default=os.environ.get("FRAMEFLEET_BROKERS", "localhost:9092"))
    parser.add_argument("--prefix", default=os.environ.get("FRAMEFLEET_PREFIX", "framefleet"))
    arguments = parser.parse_args()
    if "://" not in arguments.video:
        arguments.video = str(Path(arguments.video).resolve())
    return arguments


def validator(message):
    return Draft202012Validator(json.loads((SCHEMAS / f"{message}.schema.json").read_text()))


def send(arguments, request):
    """Returns when the broker has the request on all its replicas: from then on the job is the fleet's."""
    failures = []
    # One key goes to one partition whoever sends, so that a cancellation comes after its request.
    producer = Producer(
        {"bootstrap.servers": arguments.brokers, "acks": "all", "enable.idempotence": True, "partitioner": "murmur2_random"}
    )
    producer.produce(
        f"{arguments.prefix}.jobs",
        key=request["job_id"],
        value=json.dumps(request),
        on_delivery=lambda error, _: failures.append(error) if error else None,
    )
    if producer.flush(60) or failures:
        sys.exit(f"the request was not delivered: {failures or 'no answer'}")


def consumer_of_what_comes(arguments):
    """Reads all partitions of the topic of outcomes from now on, without belonging to any group."""
    topic = f"{arguments.prefix}.outcomes"
    # librdkafka wants a group's name; nothing is ever committed under it.
    consumer = Consumer(
        {"bootstrap.servers": arguments.brokers, "group.id": f"{arguments.prefix}.readers", "enable.auto.commit": False}
    )
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    if not partitions:
        sys.exit(f"there is no topic {topic}: `framefleet topics apply` makes it")
    # Where the end is now, and not where it is by the time of the first look.
    ends = [consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1] for n in partitions]
    consumer.assign([TopicPartition(topic, n, end) for n, end in zip(partitions, ends)])
    return consumer


def wait_for(outcomes, job_id):
    while True:
        message = outcomes.poll(1.0)
        if message is None or message.error() or message.key() != job_id.encode():
            continue
        # Without a value, an outcome is taken back: somebody removed the job.
        if message.value() is not None:
            return json.loads(message.value())


def show_rows(tracks):
    try:
        import pyarrow.parquet
    except ImportError:
        print(f"install pyarrow to read {tracks}")
        return
    if not tracks.exists():
        print(f"{tracks} is not seen from here: name the results volume with --results")
        return
    rows = pyarrow.parquet.ParquetFile(tracks).iter_batches(batch_size=5)
    first = next(rows, None)
    for row in first.to_pylist() if first else []:
        print(f"  frame {row['frame']}  track {row['track_id']}  {row['class']}  {row['score']:.2f}")


if __name__ == "__main__":
    sys.exit(main())
