"""Sends or receives messages of 1 KB with the official client, and prints messages a second.

Usage: servicebus.py send|batches|receive|sessions NUMBER CONNECTION_STRING QUEUE COUNT
NUMBER is how many sends are in flight (threads here, on senders of their own), the prefetch, or how many
sessions there are.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusClient, ServiceBusMessage

WHAT, NUMBER, CONNECTION, QUEUE, COUNT = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
PAGE = 100
BODY = b"x" * 1000
client = ServiceBusClient.from_connection_string(CONNECTION)


def message(number):
    return ServiceBusMessage(BODY, message_id=str(number))


def opened():
    sender = client.get_queue_sender(QUEUE)
    sender.create_message_batch()
    return sender


def send():
    senders = [opened() for _ in range(NUMBER)]

    def share(first):
        for number in range(first, COUNT, NUMBER):
            senders[first].send_messages(message(number))

    began = time.perf_counter()
    with ThreadPoolExecutor(NUMBER) as pool:
        list(pool.map(share, range(NUMBER)))
    return time.perf_counter() - began


def batches():
    sender = opened()
    began = time.perf_counter()
    batch = sender.create_message_batch()
    for number in range(COUNT):
        try:
            batch.add_message(message(number))
        except ValueError:
            sender.send_messages(batch)
            batch = sender.create_message_batch()
            batch.add_message(message(number))
    sender.send_messages(batch)
    return time.perf_counter() - began


def complete(receiver, count):
    began = None
    while count:
        page = receiver.receive_messages(max_message_count=PAGE, max_wait_time=30)
        assert page, "messages are missing"
        began = began or time.perf_counter()
        for received in page:
            assert len(b"".join(received.body)) == len(BODY)
            receiver.complete_message(received)
        count -= len(page)
    return began


def receive():
    with client.get_queue_receiver(QUEUE, prefetch_count=NUMBER) as receiver:
        began = complete(receiver, COUNT)
    return time.perf_counter() - began


def sessions():
    began = time.perf_counter()
    for _ in range(NUMBER):
        with client.get_queue_receiver(QUEUE, session_id=NEXT_AVAILABLE_SESSION, prefetch_count=PAGE) as session:
            complete(session, COUNT // NUMBER)
    return time.perf_counter() - began


took = {"send": send, "batches": batches, "receive": receive, "sessions": sessions}[WHAT]()
print(COUNT / took)
