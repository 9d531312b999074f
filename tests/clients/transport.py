"""The official clients over TLS and over WebSockets, against the same ports as without.

Usage: transport.py SERVICEBUS_CONNECTION_STRING EVENTHUBS_CONNECTION_STRING AUTHORITY.pem

Needs: queue `work` and hub `order-events`.
"""

import re
import sys

from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub import TransportType as EventHubTransport
from azure.servicebus import ServiceBusClient, ServiceBusMessage, TransportType
from report import equal, run

SERVICE_BUS, EVENT_HUBS, AUTHORITY = sys.argv[1:4]


def secured(connection_string):
    """As for Azure itself, without the word that makes clients speak plain TCP; and where to connect to."""
    port = re.search(r":(\d+);", connection_string).group(1)
    plain = connection_string.replace("UseDevelopmentEmulator=true;", "").replace(f"127.0.0.1:{port}", "localhost")
    return plain, {"custom_endpoint_address": f"sb://localhost:{port}", "connection_verify": AUTHORITY}


def passes_a_message(transport):
    connection_string, options = secured(SERVICE_BUS)
    with ServiceBusClient.from_connection_string(connection_string, transport_type=transport, **options) as client:
        body = "x" * 100_000
        with client.get_queue_sender("work") as sender:
            sender.send_messages(ServiceBusMessage(body))
        with client.get_queue_receiver("work", max_wait_time=20) as receiver:
            (message,) = receiver.receive_messages(1)
            equal(str(message), body)
            receiver.complete_message(message)


def a_message_passes_under_tls():
    passes_a_message(TransportType.Amqp)


def a_message_passes_over_websockets():
    passes_a_message(TransportType.AmqpOverWebsocket)


def takes_an_event(transport):
    connection_string, options = secured(EVENT_HUBS)
    producer = EventHubProducerClient.from_connection_string(
        connection_string, eventhub_name="order-events", transport_type=transport, **options
    )
    with producer:
        before = producer.get_partition_properties("0")["last_enqueued_sequence_number"]
        batch = producer.create_batch(partition_id="0")
        batch.add(EventData("x"))
        producer.send_batch(batch)
        equal(producer.get_partition_properties("0")["last_enqueued_sequence_number"], before + 1)


def an_event_is_taken_under_tls():
    takes_an_event(EventHubTransport.Amqp)


def an_event_is_taken_over_websockets():
    takes_an_event(EventHubTransport.AmqpOverWebsocket)


run(
    a_message_passes_under_tls,
    a_message_passes_over_websockets,
    an_event_is_taken_under_tls,
    an_event_is_taken_over_websockets,
)
