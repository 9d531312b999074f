"""The official Service Bus client against the emulator.

Usage: servicebus.py CONNECTION_STRING

Needs: queue `work` (3 deliveries), session queue `sessions`, topic `orders` with subscriptions `billing`
and, with sessions, `fulfilment`.
"""

import sys
from datetime import datetime, timedelta, timezone

from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusClient, ServiceBusMessage, ServiceBusSubQueue
from receiving import WAIT, take
from report import equal, run

client = ServiceBusClient.from_connection_string(sys.argv[1])


def send(messages, queue="work", topic=None):
    sender = client.get_topic_sender(topic) if topic else client.get_queue_sender(queue)
    with sender:
        sender.send_messages(messages)


def nothing_left(receiver):
    # From the beginning: this client goes on from what it has received.
    equal([str(m) for m in receiver.peek_messages(max_message_count=10, sequence_number=1)], [])


def completed_messages_are_gone():
    send([ServiceBusMessage(f"m{n}", message_id=f"id-{n}") for n in range(5)])
    with client.get_queue_receiver("work") as receiver:
        messages = take(receiver, 5)
        equal([str(m) for m in messages], [f"m{n}" for n in range(5)])
        equal([m.message_id for m in messages], [f"id-{n}" for n in range(5)])
        for message in messages:
            receiver.complete_message(message)
        nothing_left(receiver)


def properties_survive():
    sent = ServiceBusMessage(b"\x00\x01", subject="LineAdded", content_type="application/json",
                             application_properties={"version": "3", "count": 7})
    send(sent)
    with client.get_queue_receiver("work") as receiver:
        (message,) = take(receiver, 1)
        equal(b"".join(message.body), b"\x00\x01")
        equal((message.subject, message.content_type), ("LineAdded", "application/json"))
        equal(message.application_properties, {b"version": b"3", b"count": 7})
        receiver.complete_message(message)


def an_abandoned_message_comes_again_until_its_deliveries_are_used_up():
    send(ServiceBusMessage("poison"))
    with client.get_queue_receiver("work") as receiver:
        for _ in range(3):
            (message,) = take(receiver, 1)
            receiver.abandon_message(message)
    with client.get_queue_receiver("work", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as dead:
        (message,) = take(dead, 1)
        equal(message.dead_letter_reason, "MaxDeliveryCountExceeded")
        dead.complete_message(message)


def a_dead_letter_keeps_its_reason_and_description():
    send(ServiceBusMessage("bad"))
    with client.get_queue_receiver("work") as receiver:
        (message,) = take(receiver, 1)
        receiver.dead_letter_message(message, reason="Undecodable", error_description="no total")
    with client.get_queue_receiver("work", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as dead:
        (message,) = take(dead, 1)
        equal((message.dead_letter_reason, message.dead_letter_error_description), ("Undecodable", "no total"))
        dead.complete_message(message)


def a_session_keeps_its_order_and_its_owner():
    send([ServiceBusMessage(f"{session}{n}", session_id=session) for n in range(4) for session in ("a", "b")],
         queue="sessions")
    seen = {}
    for _ in range(2):
        receiver = client.get_queue_receiver("sessions", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=WAIT)
        with receiver:
            session = receiver.session.session_id
            messages = take(receiver, 4)
            seen[session] = [str(m) for m in messages]
            for message in messages:
                receiver.complete_message(message)
    equal(seen, {session: [f"{session}{n}" for n in range(4)] for session in ("a", "b")})


def every_subscription_of_a_topic_gets_a_copy():
    send(ServiceBusMessage("event", session_id="order-1"), topic="orders")
    with client.get_subscription_receiver("orders", "billing") as billing:
        (message,) = take(billing, 1)
        equal(str(message), "event")
        billing.complete_message(message)
    with client.get_subscription_receiver("orders", "fulfilment", session_id="order-1") as fulfilment:
        (message,) = take(fulfilment, 1)
        equal((str(message), message.session_id), ("event", "order-1"))
        fulfilment.complete_message(message)


def a_scheduled_message_waits_for_its_time_and_can_be_cancelled():
    with client.get_queue_sender("work") as sender:
        soon = datetime.now(timezone.utc) + timedelta(seconds=2)
        (cancelled, _) = sender.schedule_messages([ServiceBusMessage("never"), ServiceBusMessage("later")], soon)
        sender.cancel_scheduled_messages(cancelled)
    with client.get_queue_receiver("work") as receiver:
        (message,) = take(receiver, 1)
        equal(str(message), "later")
        assert datetime.now(timezone.utc) >= soon - timedelta(milliseconds=100), "it came too early"
        receiver.complete_message(message)
        nothing_left(receiver)


run(
    completed_messages_are_gone,
    properties_survive,
    an_abandoned_message_comes_again_until_its_deliveries_are_used_up,
    a_dead_letter_keeps_its_reason_and_description,
    a_session_keeps_its_order_and_its_owner,
    every_subscription_of_a_topic_gets_a_copy,
    a_scheduled_message_waits_for_its_time_and_can_be_cancelled,
)
