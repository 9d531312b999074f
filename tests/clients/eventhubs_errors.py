"""What goes wrong, as the official Event Hubs client sees it: with the conditions of the service.

Usage: eventhubs_errors.py CONNECTION_STRING

Needs: hub `order-events` with 4 partitions and the consumer group `analytics`; hub `small` with one partition.
"""

import sys
import threading

from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError
from report import equal, run

CONNECTION = sys.argv[1]
HUB = "order-events"


def producer_of(hub):
    return EventHubProducerClient.from_connection_string(CONNECTION, eventhub_name=hub, retry_total=0)


def fails(operation, *words):
    try:
        operation()
    except EventHubError as error:
        for word in words:
            assert word in str(error), f"{word!r} is not in: {error}"
        return error
    raise AssertionError(f"no error with {words}")


def reading(hub=HUB, group="$Default", partition="0", **options):
    """The error that ends a reader, or `None` if it gets an event."""
    client = EventHubConsumerClient.from_connection_string(CONNECTION, consumer_group=group, eventhub_name=hub,
                                                           retry_total=0)
    result, ended = [], threading.Event()

    def end(_, error_or_event):
        result.append(error_or_event if isinstance(error_or_event, Exception) else None)
        ended.set()

    thread = threading.Thread(target=client.receive, args=[end], daemon=True, kwargs={
        "on_error": end, "partition_id": partition, "starting_position": "-1", **options})
    thread.start()
    assert ended.wait(20), "neither an event nor an error"
    client.close()
    thread.join(10)
    return result[0]


def refused(error, *words):
    for word in words:
        assert word in str(error), f"{word!r} is not in: {error}"


def a_hub_that_is_not_there_is_not_found():
    # Of an answer of `$management` this client keeps the status and drops the description.
    fails(producer_of("nowhere").get_eventhub_properties, "404", "NotFound")
    fails(lambda: producer_of("nowhere").send_event(EventData("x")), "404", "NotFound")
    refused(reading(hub="nowhere"), "NotFound")


def a_consumer_group_that_is_not_there_is_not_found():
    refused(reading(group="nobody"), "amqp:not-found", "nobody' could not be found", "analytics")


def a_partition_that_is_not_there_is_out_of_range():
    fails(lambda: producer_of(HUB).get_partition_properties("4"), "400")
    # It knows the partitions and doesn't ask for others.
    refused(reading(partition="4"), "Wrong partition id:4")


def a_position_behind_the_end_is_refused():
    producer = producer_of("small")
    refused(reading(hub="small", starting_position="5"), "com.microsoft:argument-error",
            "The supplied offset '5' is invalid. The last offset in the system is '-1'")
    producer.send_event(EventData("first"))
    end = producer.get_partition_properties("0")
    refused(reading(hub="small", starting_position="77"), "com.microsoft:argument-error",
            f"The supplied offset '77' is invalid. The last offset in the system is '{end['last_enqueued_offset']}'")
    refused(reading(hub="small", starting_position=7), "com.microsoft:argument-error",
            "The supplied sequence number '7' is invalid. The last sequence number in the system is '0'")
    # The next one that comes can be waited for, by offset and by number.
    sending = threading.Timer(0.5, lambda: producer.send_event(EventData("second")))
    sending.start()
    equal(reading(hub="small", starting_position=end["last_enqueued_offset"]), None)
    sending.join()
    sending = threading.Timer(0.5, lambda: producer.send_event(EventData("third")))
    sending.start()
    equal(reading(hub="small", starting_position=2, starting_position_inclusive=True), None)
    sending.join()
    producer.close()


def a_message_larger_than_its_link_takes_is_refused_and_the_next_one_taken():
    producer = producer_of(HUB)
    before = producer.get_partition_properties("0")["last_enqueued_sequence_number"]
    producer.send_batch([EventData("x")], partition_id="0")
    producer._max_message_size_on_link = 4 * 1024 * 1024  # or it wouldn't even try
    fails(lambda: producer.send_batch([EventData(b"x" * 1024 * 1024)], partition_id="0"),
          "LinkMessageSizeExceeded", "exceeds the limit (1048576 bytes)")
    fails(lambda: producer.send_batch([EventData(b"x" * 400_000) for _ in range(3)], partition_id="0"),
          "LinkMessageSizeExceeded")
    producer.send_batch([EventData(b"x" * 1_000_000)], partition_id="0")
    equal(producer.get_partition_properties("0")["last_enqueued_sequence_number"], before + 2)
    producer.close()


run(
    a_hub_that_is_not_there_is_not_found,
    a_consumer_group_that_is_not_there_is_not_found,
    a_partition_that_is_not_there_is_out_of_range,
    a_position_behind_the_end_is_refused,
    a_message_larger_than_its_link_takes_is_refused_and_the_next_one_taken,
)
