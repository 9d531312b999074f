"""The official Event Hubs client against the emulator.

Usage: eventhubs.py CONNECTION_STRING MANAGEMENT_ENDPOINT

Needs: hub `order-events` with 4 partitions and the consumer group `analytics`; `geo` with opaque offsets; `short`
that keeps events for an hour; `tiny` that keeps 64 KB of them.
"""

import json
import sys
import threading
import urllib.request
from datetime import datetime, timezone

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from report import equal, run

HUB, GROUP = "order-events", "analytics"
KEYS, EACH = [f"order-{n}" for n in range(8)], 10
producer = EventHubProducerClient.from_connection_string(sys.argv[1], eventhub_name=HUB)


def consumer_of(hub=HUB, group=GROUP):
    # An error is an answer here, not a reason to try again.
    return EventHubConsumerClient.from_connection_string(sys.argv[1], consumer_group=group, eventhub_name=hub,
                                                         retry_total=0)


class Reader:
    """A consumer of one partition, receiving until it is closed or an error ends it."""

    def __init__(self, partition, **options):
        self.client, self.error, self.started = consumer_of(), None, threading.Event()
        self.failed = threading.Event()
        self.thread = threading.Thread(target=self.run, args=[partition, options], daemon=True)
        self.thread.start()

    def run(self, partition, options):
        def on_error(_, error):
            self.error = error
            self.failed.set()

        self.client.receive(on_event=lambda context, event: self.started.set(), on_error=on_error,
                            partition_id=partition, starting_position="-1", **options)

    def close(self):
        self.client.close()
        self.thread.join(10)


def texts(hub, partition, count, **position):
    return [text for _, _, text in collect(count, hub=hub, group="$Default", partition_id=partition, **position)]


def collect(count, hub=HUB, group=GROUP, **position):
    """(partition, key, text) of `count` events, in order within each partition."""
    consumer = EventHubConsumerClient.from_connection_string(
        sys.argv[1], consumer_group=group, eventhub_name=hub, load_balancing_interval=1,
        load_balancing_strategy="greedy")
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


def a_key_has_the_partition_that_the_service_gives_it():
    # From the tests of @azure/event-hubs, which have it from the service's own code.
    before = producer.get_partition_properties("2")["last_enqueued_sequence_number"]
    producer.send_batch([EventData("placed")], partition_key="TheBestParitionEver")
    equal(producer.get_partition_properties("2")["last_enqueued_sequence_number"], before + 1)


def a_reader_starts_by_sequence_number_by_time_or_at_the_end():
    producer.send_batch([EventData(f"n{n}") for n in range(3)], partition_id="3")
    end = producer.get_partition_properties("3")
    number = end["last_enqueued_sequence_number"] - 2
    equal(texts(HUB, "3", 3, starting_position=number, starting_position_inclusive=True), ["n0", "n1", "n2"])
    equal(texts(HUB, "3", 2, starting_position=number), ["n1", "n2"])
    # Times have no more than milliseconds here.
    until = end["last_enqueued_time_utc"].timestamp()
    while datetime.now(timezone.utc).timestamp() < until + 0.01:
        pass
    producer.send_batch([EventData("later")], partition_id="3")
    later = datetime.fromtimestamp(until + 0.001, timezone.utc)
    equal(texts(HUB, "3", 1, starting_position=later), ["later"])
    sending = threading.Timer(1, lambda: producer.send_batch([EventData("newest")], partition_id="3"))
    sending.start()
    equal(texts(HUB, "3", 1, starting_position="@latest"), ["newest"])
    sending.join()


def a_higher_owner_level_takes_a_partition_over():
    producer.send_batch([EventData("x")], partition_id="0")
    first = Reader("0", owner_level=1)
    assert first.started.wait(10)
    second = Reader("0", owner_level=2)
    assert second.started.wait(10)
    assert first.failed.wait(10), "the lower one goes on reading"
    assert "epoch" in str(first.error), first.error
    for refused in (Reader("0", owner_level=1), Reader("0")):
        assert refused.failed.wait(10) and not refused.started.is_set()
        refused.close()
    assert not second.failed.is_set()
    first.close()
    second.close()


def five_readers_of_a_group_share_a_partition_and_no_more():
    producer.send_batch([EventData("x")], partition_id="1")
    readers = [Reader("1") for _ in range(5)]
    assert all(reader.started.wait(10) for reader in readers)
    sixth = Reader("1")
    assert sixth.failed.wait(10), "a sixth one reads too"
    for reader in [*readers, sixth]:
        reader.close()


def a_reader_is_told_how_far_its_partition_goes_by_now():
    producer.send_batch([EventData("t0"), EventData("t1"), EventData("t2")], partition_id="1")
    end = producer.get_partition_properties("1")
    told, enough, consumer = [], threading.Event(), consumer_of()

    def on_event(context, event):
        told.append((event.sequence_number, context.last_enqueued_event_properties))
        if event.sequence_number == end["last_enqueued_sequence_number"]:
            enough.set()

    options = {"on_event": on_event, "partition_id": "1", "starting_position": "-1"}
    for track in (True, False):
        told.clear()
        enough.clear()
        options["track_last_enqueued_event_properties"] = track
        receiving = threading.Thread(target=consumer.receive, kwargs=options, daemon=True)
        receiving.start()
        assert enough.wait(30)
        consumer.close()
        receiving.join(10)
        consumer = consumer_of()
        for _, properties in told:
            if not track:
                equal(properties, None)
                continue
            equal(properties["sequence_number"], end["last_enqueued_sequence_number"])
            equal(properties["offset"], end["last_enqueued_offset"])
            equal(properties["enqueued_time"], end["last_enqueued_time_utc"])
            assert properties["retrieval_time"] >= end["last_enqueued_time_utc"], properties
    consumer.close()


def a_batch_ends_at_a_megabyte():
    batch = producer.create_batch()
    equal(batch.max_size_in_bytes, 1024 * 1024)
    try:
        batch.add(EventData(b"x" * 1024 * 1024))
    except ValueError:
        return
    raise AssertionError("a megabyte and its frame fit into a megabyte")


def offsets_need_not_be_numbers():
    geo = EventHubProducerClient.from_connection_string(sys.argv[1], eventhub_name="geo")
    for text in ("a", "b", "c"):
        geo.send_batch([EventData(text)], partition_id="0")
    last = geo.get_partition_properties("0")["last_enqueued_offset"]
    assert not last.isdigit(), last
    geo.send_batch([EventData("d")], partition_id="0")
    equal(texts("geo", "0", 1, starting_position=last), ["d"])
    equal(texts("geo", "0", 2, starting_position=last, starting_position_inclusive=True), ["c", "d"])
    geo.close()


def events_are_gone_when_their_time_is_over():
    short = EventHubProducerClient.from_connection_string(sys.argv[1], eventhub_name="short")
    short.send_batch([EventData("old")], partition_id="0")
    jump = json.dumps({"advance_ms": 3_600_000}).encode()
    urllib.request.urlopen(urllib.request.Request(sys.argv[2] + "clock", jump, method="POST")).read()
    equal(short.get_partition_properties("0")["is_empty"], True)
    short.send_batch([EventData("new")], partition_id="0")
    equal(texts("short", "0", 1, starting_position="-1"), ["new"])
    short.close()


def the_oldest_events_go_when_there_are_too_many():
    tiny = EventHubProducerClient.from_connection_string(sys.argv[1], eventhub_name="tiny")
    for n in range(20):
        tiny.send_batch([EventData(f"{n}".ljust(10_000))], partition_id="0")
    partition = tiny.get_partition_properties("0")
    first, last = partition["beginning_sequence_number"], partition["last_enqueued_sequence_number"]
    equal(last, 19)
    assert 20 - 64 * 1024 // 10_000 <= first < last, partition
    # Who has read up to a lost one goes on with the oldest there is.
    for position in ({"starting_position": "-1"}, {"starting_position": 3}):
        kept = [int(text) for text in texts("tiny", "0", 20 - first, **position)]
        equal(kept, list(range(first, 20)))
    tiny.close()


run(
    the_hub_describes_itself,
    events_of_a_key_stay_in_one_partition_and_in_order,
    a_partition_can_be_addressed_and_read_from_its_end,
    a_key_has_the_partition_that_the_service_gives_it,
    a_reader_starts_by_sequence_number_by_time_or_at_the_end,
    a_higher_owner_level_takes_a_partition_over,
    five_readers_of_a_group_share_a_partition_and_no_more,
    a_reader_is_told_how_far_its_partition_goes_by_now,
    a_batch_ends_at_a_megabyte,
    offsets_need_not_be_numbers,
    events_are_gone_when_their_time_is_over,
    the_oldest_events_go_when_there_are_too_many,
)
