"""The official Event Hubs client against an emulator with one throughput unit.

Usage: eventhubs_throttled.py CONNECTION_STRING

Needs: hub `order-events`.
"""

import sys
import time

from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError
from report import equal, run


def who_sends_too_much_is_told_that_the_server_is_busy():
    hasty = EventHubProducerClient.from_connection_string(sys.argv[1], eventhub_name="order-events", retry_total=0)
    accepted, refused = 0, None
    for _ in range(20):
        try:
            hasty.send_batch([EventData(str(n)) for n in range(500)], partition_id="0")
            accepted += 500
        except EventHubError as error:
            refused = error
            break
    assert refused is not None and "throttled" in str(refused), refused
    assert accepted >= 500, "nothing was taken at all"
    equal(hasty.get_partition_properties("0")["last_enqueued_sequence_number"], accepted - 1)
    hasty.close()


def who_waits_gets_through():
    patient = EventHubProducerClient.from_connection_string(sys.argv[1], eventhub_name="order-events")
    sent, refused = 0, 0
    while sent < 4 and refused < 100:
        try:
            patient.send_batch([EventData(str(n)) for n in range(600)], partition_id="1")
            sent += 1
        except EventHubError:  # this client does not try again by itself
            refused += 1
            time.sleep(0.2)
    equal(patient.get_partition_properties("1")["last_enqueued_sequence_number"], 4 * 600 - 1)
    patient.close()


run(who_sends_too_much_is_told_that_the_server_is_busy, who_waits_gets_through)
