"""Publishes or consumes events of 1 KB with the official client, and prints events a second.

Usage: eventhubs.py publish|consume EVENT_HUBS_CONNECTION_STRING HUB BLOBS_CONNECTION_STRING COUNT
"""

import sys
import threading
import time

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient, LoadBalancingStrategy
from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore
from azure.storage.blob import BlobServiceClient

WHAT, CONNECTION, HUB, BLOBS, COUNT = sys.argv[1:5] + [int(sys.argv[5])]
KEYS = 1000


def publish():
    failed = []
    producer = EventHubProducerClient.from_connection_string(
        CONNECTION, eventhub_name=HUB, buffered_mode=True, max_wait_time=1, max_buffer_length=1500,
        on_success=lambda events, partition: None, on_error=lambda events, partition, error: failed.append(error))
    with producer:
        producer.get_partition_ids()
        body = b"x" * 1000
        began = time.perf_counter()
        for number in range(COUNT):
            producer.send_event(EventData(body), partition_key=f"order-{number % KEYS}")
        producer.flush()
        took = time.perf_counter() - began
    assert not failed, failed[0]
    return took


def consume():
    BlobServiceClient.from_connection_string(BLOBS).create_container("python")
    store = BlobCheckpointStore.from_connection_string(BLOBS, "python")
    client = EventHubConsumerClient.from_connection_string(
        CONNECTION, consumer_group="python", eventhub_name=HUB, checkpoint_store=store,
        load_balancing_strategy=LoadBalancingStrategy.GREEDY, load_balancing_interval=5)
    lock, done, seen, times = threading.Lock(), threading.Event(), [0], []

    def received(partition, events):
        if not events:
            return
        partition.update_checkpoint(events[-1])
        with lock:
            times.append(time.perf_counter())
            seen[0] += len(events)
            if seen[0] >= COUNT:
                done.set()

    receiving = threading.Thread(target=client.receive_batch, daemon=True, kwargs={
        "on_event_batch": received, "starting_position": "-1", "max_batch_size": 300, "prefetch": 300,
        "max_wait_time": 1})
    receiving.start()
    done.wait()
    client.close()
    return times[-1] - times[0]


print(COUNT / {"publish": publish, "consume": consume}[WHAT]())
