"""The official Event Hubs client on a hub and a container of checkpoints that it shares with ours.

Usage: eventhubs_interop.py CONNECTION_STRING BLOBS_CONNECTION_STRING CONTAINER

Before: 5 events each of 8 keys were published and checkpointed by ours. After: this has published and checkpointed
5 more of each, and published one more.
"""

import sys
import threading
from collections import defaultdict

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore
from report import equal, run

CONNECTION, BLOBS, CONTAINER = sys.argv[1:4]
HUB, GROUP, KEYS, EACH = "order-events", "analytics", 8, 5
producer = EventHubProducerClient.from_connection_string(CONNECTION, eventhub_name=HUB)
store = BlobCheckpointStore.from_connection_string(BLOBS, CONTAINER)
namespace = CONNECTION.split("sb://")[1].split(";")[0].split("/")[0]


def receive(count, group, checkpoint_store=None, **options):
    """The first `count` events, by key; each checkpointed where there is a store."""
    client = EventHubConsumerClient.from_connection_string(
        CONNECTION, consumer_group=group, eventhub_name=HUB, checkpoint_store=checkpoint_store,
        load_balancing_interval=1, partition_ownership_expiration_interval=6, load_balancing_strategy="greedy")
    lock, done, by_key, total = threading.Lock(), threading.Event(), defaultdict(list), [0]

    def received(partition, event):
        with lock:
            by_key[event.partition_key.decode()].append(event)
            total[0] += 1
        if checkpoint_store:
            partition.update_checkpoint(event)
        if total[0] >= count:
            done.set()

    thread = threading.Thread(target=client.receive, args=[received], kwargs=options, daemon=True)
    thread.start()
    assert done.wait(60), f"{total[0]} of {count} events"
    client.close()
    thread.join()
    return by_key


def publish(begin, each):
    for key in range(KEYS):
        batch = producer.create_batch(partition_key=f"order-{key}")
        for line in range(begin, begin + each):
            event = EventData(f'{{"line":{line}}}'.encode())
            event.content_type = "application/json"
            event.properties = {"attempt": 3}
            batch.add(event)
        producer.send_batch(batch)


def lines(events):
    return [event.body_as_str() for event in events]


def our_events_come_with_every_field_in_order():
    by_key = receive(KEYS * EACH, "$Default", starting_position="-1")
    equal(sorted(by_key), [f"order-{key}" for key in range(KEYS)])
    for key, events in by_key.items():
        equal(lines(events), [f'{{"line":{line}}}' for line in range(EACH)])
        for line, event in enumerate(events):
            equal(event.message_id, f"{key}/{line}")
            equal(event.content_type, "application/json")
            equal(event.raw_amqp_message.properties.subject.decode(), "LineAdded")
            equal(event.properties[b"azevents-version"].decode(), str(line + 1))


def our_checkpoints_are_found():
    found = store.list_checkpoints(namespace, HUB, GROUP)
    equal(sum(checkpoint["sequence_number"] + 1 for checkpoint in found), KEYS * EACH)
    equal({owner["owner_id"] or "" for owner in store.list_ownership(namespace, HUB, GROUP)}, {""})


def reading_goes_on_behind_our_checkpoints():
    publish(EACH, EACH)
    by_key = receive(KEYS * EACH, GROUP, store)
    for events in by_key.values():
        equal(lines(events), [f'{{"line":{line}}}' for line in range(EACH, 2 * EACH)])
    publish(2 * EACH, 1)


run(
    our_events_come_with_every_field_in_order,
    our_checkpoints_are_found,
    reading_goes_on_behind_our_checkpoints,
)
