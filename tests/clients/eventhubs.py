"""The official Event Hubs client against the emulator.

Usage: eventhubs.py CONNECTION_STRING

Needs: hub `order-events` with 4 partitions and the consumer group `analytics`.
"""

import sys
import threading

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from report import equal, run

HUB, GROUP = "order-events", "analytics"
KEYS, EACH = [f"order-{n}" for n in range(8)], 10
producer = EventHubProducerClient.from_connection_string(sys.argv[1], eventhub_name=HUB)


def collect(count, **position):
    """(partition, key, text) of `count` events, in order within each partition."""
    consumer = EventHubConsumerClient.from_connection_string(sys.argv[1], consumer_group=GROUP, eventhub_name=HUB)
    events, lock, enough = [], threading.Lock(), threading.Event()

    def on_event(context, event):
        with lock:
            events.append((context.partition_id, (event.partition_key or b"").decode(), event.body_as_str()))
            if len(events) >= count:
                enough.set()

    receiving = threading.Thread(target=consumer.receive, kwargs={"on_event": on_event, **position}, daemon=True)
    receiving.start()
    enough.wait(30)
    consumer.close()
    receiving.join(10)
    return events


def the_hub_describes_itself():
    equal(producer.get_eventhub_properties()["partition_ids"], ["0", "1", "2", "3"])
    partition = producer.get_partition_properties("0")
    assert partition["last_enqueued_sequence_number"] >= partition["beginning_sequence_number"] - 1, partition


def events_of_a_key_stay_in_one_partition_and_in_order():
    for key in KEYS:
        batch = producer.create_batch(partition_key=key)
        for n in range(EACH):
            batch.add(EventData(f"{key}/{n}"))
        producer.send_batch(batch)
    events = collect(len(KEYS) * EACH, starting_position="-1")
    for key in KEYS:
        equal([text for _, k, text in events if k == key], [f"{key}/{n}" for n in range(EACH)])
        equal(len({partition for partition, k, _ in events if k == key}), 1)


def a_partition_can_be_addressed_and_read_from_its_end():
    end = producer.get_partition_properties("2")["last_enqueued_offset"]
    producer.send_batch([EventData("to the third")], partition_id="2")
    events = collect(1, partition_id="2", starting_position=end)
    equal([(partition, text) for partition, _, text in events], [("2", "to the third")])


run(
    the_hub_describes_itself,
    events_of_a_key_stay_in_one_partition_and_in_order,
    a_partition_can_be_addressed_and_read_from_its_end,
)
