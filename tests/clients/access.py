"""The official clients with tokens of a directory, under TLS, at an emulator that was told to require a claim.

Usage: access.py SERVICEBUS_CONNECTION_STRING EVENTHUBS_CONNECTION_STRING COSMOS_ENDPOINT COSMOS_KEY AUTHORITY.pem
                 BLOBS_ENDPOINT

Needs: queue `work`, hub `order-events`, and the claim `tenant` to be `shop`.
"""

import re
import sys

from azure.core.exceptions import HttpResponseError
from azure.cosmos import CosmosClient
from azure.cosmos.exceptions import CosmosHttpResponseError
from azure.eventhub import EventHubProducerClient
from azure.eventhub import TransportType as EventHubTransport
from azure.eventhub.exceptions import AuthenticationError
from azure.servicebus import ServiceBusClient, ServiceBusMessage, TransportType
from azure.servicebus.exceptions import ServiceBusError
from azure.storage.blob import BlobServiceClient
from report import equal, raises, run
from tokens import Credential

SERVICE_BUS, EVENT_HUBS, COSMOS, KEY, AUTHORITY, BLOBS = sys.argv[1:7]
OURS, STRANGER = Credential(tenant="shop"), Credential(tenant="other")


def reached(connection_string, transport):
    port = re.search(r":(\d+);", connection_string).group(1)
    return {"custom_endpoint_address": f"sb://localhost:{port}", "connection_verify": AUTHORITY, "retry_total": 0,
            "transport_type": transport}


def passes_a_message(credential, transport=TransportType.Amqp):
    with ServiceBusClient("localhost", credential, **reached(SERVICE_BUS, transport)) as client:
        with client.get_queue_sender("work") as sender:
            sender.send_messages(ServiceBusMessage("x"))
        with client.get_queue_receiver("work", max_wait_time=20) as receiver:
            (message,) = receiver.receive_messages(1)
            receiver.complete_message(message)


def asks_for_partitions(credential, transport=EventHubTransport.Amqp):
    hub = EventHubProducerClient("localhost", "order-events", credential, **reached(EVENT_HUBS, transport))
    with hub:
        equal(len(hub.get_partition_ids()), 4)


def databases(credential):
    client = CosmosClient(COSMOS.replace("http://127.0.0.1", "https://localhost"), credential,
                          connection_verify=AUTHORITY, retry_total=0)
    return list(client.list_databases())


def blobs(credential):
    return BlobServiceClient(BLOBS.replace("http://", "https://"), credential, connection_verify=AUTHORITY, retry_total=0)


def service_bus_takes_a_token_with_the_claim():
    passes_a_message(OURS)


def service_bus_takes_it_over_websockets():
    passes_a_message(OURS, TransportType.AmqpOverWebsocket)


def service_bus_takes_no_token_without_it():
    # With its first attempt this client reads no more of the refusal than that there was one.
    assert "TokenAuthFailure" in repr(raises(ServiceBusError, passes_a_message, STRANGER).inner_exception)


def event_hubs_takes_a_token_with_the_claim():
    asks_for_partitions(OURS)


def event_hubs_takes_it_over_websockets():
    asks_for_partitions(OURS, EventHubTransport.AmqpOverWebsocket)


def event_hubs_takes_no_token_without_it():
    raises(AuthenticationError, asks_for_partitions, STRANGER)


def cosmos_takes_a_token_with_the_claim():
    equal(databases(OURS), [])


def cosmos_takes_no_token_without_it():
    assert "tenant" in str(raises(CosmosHttpResponseError, databases, STRANGER))


def blob_storage_takes_a_token_with_the_claim_and_tells_about_the_account():
    equal(list(blobs(OURS).list_containers()), [])
    assert blobs(OURS).get_account_information()["sku_name"]


def blob_storage_takes_no_token_without_it():
    raises(HttpResponseError, list, blobs(STRANGER).list_containers())


def a_key_opens_all_the_same():
    equal(databases(KEY), [])
    with ServiceBusClient.from_connection_string(SERVICE_BUS) as client:
        with client.get_queue_sender("work") as sender:
            sender.send_messages(ServiceBusMessage("by key"))


run(
    service_bus_takes_a_token_with_the_claim,
    service_bus_takes_it_over_websockets,
    service_bus_takes_no_token_without_it,
    event_hubs_takes_a_token_with_the_claim,
    event_hubs_takes_it_over_websockets,
    event_hubs_takes_no_token_without_it,
    cosmos_takes_a_token_with_the_claim,
    cosmos_takes_no_token_without_it,
    blob_storage_takes_a_token_with_the_claim_and_tells_about_the_account,
    blob_storage_takes_no_token_without_it,
    a_key_opens_all_the_same,
)
