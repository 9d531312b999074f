"""What the Service Bus scripts do with queues, by the connection string and the management endpoint in their arguments."""

import sys

from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiveMode
from emulator import Management

client = ServiceBusClient.from_connection_string(sys.argv[1], retry_backoff_factor=0.05)
hasty = ServiceBusClient.from_connection_string(sys.argv[1], retry_total=0)
management = Management(sys.argv[2])
senders = {}  # a connection each, which takes its time


def send(queue, *messages, by=client):
    if (by, queue) not in senders:
        senders[by, queue] = by.get_queue_sender(queue)
    senders[by, queue].send_messages(list(messages) if len(messages) != 1 else messages[0])


def text(body, **more):
    return ServiceBusMessage(body, **more)


def opened(receiver):
    """The link is opened on entering."""
    with receiver:
        pass


def bodies(messages):
    return [str(message) for message in messages]


def emptied(queue, **options):
    """Takes and deletes what is there."""
    options = {"receive_mode": ServiceBusReceiveMode.RECEIVE_AND_DELETE, **options}
    with client.get_queue_receiver(queue, **options) as receiver:
        found = []
        while some := receiver.receive_messages(max_message_count=50, max_wait_time=0.3):
            found += some
        return found
