"""Two processors of the official Event Hubs client share a hub through checkpoints in blobs; one is killed.

Usage: eventhubs_processors.py CONNECTION_STRING BLOBS_CONNECTION_STRING

Needs: hub `order-events` with 4 partitions and the consumer group `analytics`. Each processor is a process of its own:
this file once more, with `worker` as its last argument.
"""

import subprocess
import sys
import threading
import time
from collections import defaultdict

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore
from azure.storage.blob import ContainerClient
from report import equal, run

CONNECTION, BLOBS = sys.argv[1:3]
HUB, GROUP, CONTAINER = "order-events", "analytics", "processors-py"
PARTITIONS, EACH, CHECKPOINT_EVERY = ["0", "1", "2", "3"], 60, 3


def work():
    """A processor that says what it sees, and checkpoints some of it."""
    client = EventHubConsumerClient.from_connection_string(
        CONNECTION, consumer_group=GROUP, eventhub_name=HUB, load_balancing_interval=1,
        checkpoint_store=BlobCheckpointStore.from_connection_string(BLOBS, CONTAINER),
        partition_ownership_expiration_interval=5, load_balancing_strategy="greedy")
    seen = defaultdict(int)

    def on_event(partition, event):
        print(partition.partition_id, event.body_as_str(), flush=True)
        seen[partition.partition_id] += 1
        if seen[partition.partition_id] % CHECKPOINT_EVERY == 0:
            partition.update_checkpoint(event)

    client.receive(on_event=on_event, starting_position="-1")


class Processor:
    """A process at work, and what it has seen: numbers by partition, in its order."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, *sys.argv[:3], "worker"], stdout=subprocess.PIPE, text=True)
        self.seen = {partition: [] for partition in PARTITIONS}
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            partition, number = line.split()
            self.seen[partition].append(int(number))

    def kill(self):
        self.process.kill()
        self.process.wait()


def wait_until(condition, what):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.05)


def after_a_kill_the_other_processor_goes_on_and_every_event_is_seen_in_order():
    ContainerClient.from_connection_string(BLOBS, CONTAINER).create_container()
    producer = EventHubProducerClient.from_connection_string(CONNECTION, eventhub_name=HUB)

    def publish(numbers):
        for number in numbers:
            for partition in PARTITIONS:
                producer.send_batch([EventData(str(number))], partition_id=partition)

    first, second = Processor(), None
    try:
        publish(range(10))
        wait_until(lambda: all(len(seen) == 10 for seen in first.seen.values()), "the first has all partitions")
        second = Processor()
        published = threading.Thread(target=publish, args=[range(10, EACH)])
        wait_until(lambda: sum(bool(seen) for seen in second.seen.values()) == 2, "the second has its half")
        published.start()
        wait_until(lambda: all(max(max(first.seen[p], default=0), max(second.seen[p], default=0)) > 20
                               for p in PARTITIONS), "both are in the middle")
        first.kill()
        before = {partition: list(seen) for partition, seen in second.seen.items()}
        published.join()
        wait_until(lambda: all(seen and seen[-1] == EACH - 1 for seen in second.seen.values()),
                   "the second has all partitions, to the end")
    finally:
        for processor in filter(None, (first, second)):
            processor.kill()
        producer.close()
    for partition in PARTITIONS:
        equal(sorted({*first.seen[partition], *second.seen[partition]}), list(range(EACH)))
        for seen in (first.seen[partition], second.seen[partition]):
            # It may begin again at a checkpoint, and leaves nothing out.
            for last, number in zip(seen, seen[1:]):
                assert number <= last + 1, f"{partition}: {number} after {last}"
        for taken_over in second.seen[partition][len(before[partition]):][:1]:
            last = max(before[partition] + first.seen[partition])
            assert taken_over <= last + 1, f"{partition}: begins with {taken_over} after {last}"


if sys.argv[-1] == "worker":
    work()
else:
    run(after_a_kill_the_other_processor_goes_on_and_every_event_is_seen_in_order)
