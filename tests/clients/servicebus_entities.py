"""The official Service Bus client against what entities do by themselves: limits, locks, time and what it brings.

Usage: servicebus_entities.py CONNECTION_STRING MANAGEMENT_ENDPOINT ADMINISTRATION_CONNECTION_STRING CA_FILE

Needs nothing; makes entities of its own and moves the emulator's clock.
"""

import sys
import time
from datetime import datetime, timedelta, timezone

from azure.core.exceptions import ResourceNotFoundError
from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    AutoLockRenewer,
    ServiceBusClient,
    ServiceBusSubQueue,
)
from azure.servicebus.exceptions import (
    MessageLockLostError,
    MessageSizeExceededError,
    MessagingEntityNotFoundError,
    OperationTimeoutError,
    ServiceBusAuthenticationError,
    ServiceBusError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)
from azure.servicebus.management import ServiceBusAdministrationClient
from receiving import WAIT, take
from report import equal, raises, run
from servicebus_queues import bodies, client, emptied, hasty, management, opened, send, text

MINUTE = timedelta(minutes=1)
management.create("""
queue = [
    { name = "plain", lock_duration = "60s" },
    { name = "brief", lock_duration = "5s" },
    { name = "session", sessions = true, lock_duration = "60s" },
    { name = "mortal", time_to_live = "10m", dead_letter_on_expiration = true },
    { name = "vanishing", time_to_live = "10m" },
    { name = "once", duplicate_detection = "10m" },
    { name = "hop0", forward_to = "hop1" }, { name = "hop1", forward_to = "hop2" },
    { name = "hop2", forward_to = "hop3" }, { name = "hop3", forward_to = "hop4" },
    { name = "hop4", forward_to = "hop5" }, { name = "hop5" },
    { name = "failing", forward_dead_letters_to = "plain" },
]
topic = [{ name = "news", subscriptions = [{ name = "all" }, { name = "passing", forward_to = "plain" }] }]
""")


def dead_letters(queue, kind=ServiceBusSubQueue.DEAD_LETTER):
    return [(str(m), m.dead_letter_reason) for m in emptied(queue, sub_queue=kind)]


def a_message_larger_than_the_tier_allows_is_refused():
    send("plain", text("x" * 200_000))
    equal(len(emptied("plain")), 1)
    with hasty.get_queue_sender("plain") as sender:
        raises(MessageSizeExceededError, sender.send_messages, text("x" * 300_000))
        sender.send_messages(text("small"))
    equal(bodies(emptied("plain")), ["small"])


def a_batch_knows_how_large_it_may_be():
    with client.get_queue_sender("plain") as sender:
        batch = sender.create_message_batch()
        error = None
        while error is None:
            try:
                batch.add_message(text("x" * 20_000))
            except MessageSizeExceededError as full:
                error = full
        assert 10 <= len(batch) <= 13, len(batch)
        sender.send_messages(batch)
    equal(len(emptied("plain")), len(batch))


def properties_that_are_too_large_are_refused():
    two = {f"p{n}": "x" * 20_000 for n in range(2)}
    send("plain", text("fits", application_properties=two))
    four = {f"p{n}": "x" * 20_000 for n in range(4)}
    raises(MessageSizeExceededError, send, "plain", text("together", application_properties=four), by=hasty)
    raises(ServiceBusError, send, "plain", text("one", application_properties={"p": "x" * 33_000}), by=hasty)
    equal(bodies(emptied("plain")), ["fits"])


def what_expires_is_dead_lettered_where_the_queue_says_so():
    send("mortal", text("by the queue"), text("by itself", time_to_live=MINUTE))
    send("vanishing", text("gone"))
    management.advance(2 * MINUTE)
    equal(dead_letters("mortal"), [("by itself", "TTLExpiredException")])
    management.advance(10 * MINUTE)
    equal(dead_letters("mortal"), [("by the queue", "TTLExpiredException")])
    equal((emptied("mortal"), emptied("vanishing"), dead_letters("vanishing")), ([], [], []))


def a_message_is_taken_once_within_the_time_of_its_history():
    for _ in range(3):
        send("once", text("a", message_id="1"))
    equal(bodies(emptied("once")), ["a"])
    management.advance(11 * MINUTE)
    send("once", text("b", message_id="1"))
    equal(bodies(emptied("once")), ["b"])


def forwarding_ends_after_four_hops():
    send("hop0", text("far"))
    found = dead_letters("hop4", ServiceBusSubQueue.TRANSFER_DEAD_LETTER)
    equal(found, [("far", "MaxTransferHopCountExceeded")])
    send("hop2", text("near"))
    with client.get_queue_receiver("hop5") as receiver:
        (message,) = take(receiver)
        equal(str(message), "near")
        receiver.complete_message(message)


def dead_letters_and_copies_are_passed_on():
    send("failing", text("bad"))
    with client.get_queue_receiver("failing") as receiver:
        receiver.dead_letter_message(take(receiver)[0], reason="Bad")
    with client.get_queue_receiver("plain") as receiver:
        (message,) = take(receiver)
        equal((str(message), message.dead_letter_reason, message.dead_letter_source), ("bad", "Bad", "failing"))
        receiver.complete_message(message)
    with client.get_topic_sender("news") as sender:
        sender.send_messages(text("copy"))
    with client.get_queue_receiver("plain") as receiver:
        (message,) = take(receiver)
        equal(str(message), "copy")
        receiver.complete_message(message)


def who_receives_from_a_queue_that_passes_on_is_told():
    assert "receive them there" in str(raises(ServiceBusError, opened, hasty.get_queue_receiver("hop0")))


def peeking_takes_nothing():
    send("plain", *[text(f"p{n}") for n in range(5)])
    with client.get_queue_receiver("plain") as receiver:
        seen = receiver.peek_messages(max_message_count=3)
        equal(bodies(seen), ["p0", "p1", "p2"])
        more = receiver.peek_messages(max_message_count=10, sequence_number=seen[-1].sequence_number + 1)
        equal(bodies(more), ["p3", "p4"])
        receiver.dead_letter_message(take(receiver)[0], reason="Peeked")
    with client.get_queue_receiver("plain", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as dead:
        equal([(str(m), m.dead_letter_reason) for m in dead.peek_messages()], [("p0", "Peeked")])
    equal(len(emptied("plain")), 4)
    equal(dead_letters("plain"), [("p0", "Peeked")])


def a_receiver_that_stops_waiting_loses_nothing():
    with client.get_queue_receiver("plain", max_wait_time=1) as first:
        equal(first.receive_messages(), [])
        send("plain", text("later"))
        with client.get_queue_receiver("plain", max_wait_time=WAIT) as second:
            (message,) = take(second)
            equal((str(message), message.delivery_count), ("later", 0))
            second.complete_message(message)


def a_deferred_message_waits_until_it_is_asked_for():
    send("plain", text("deferred"))
    with client.get_queue_receiver("plain") as receiver:
        (message,) = take(receiver)
        receiver.defer_message(message)
        number = message.sequence_number
        equal(receiver.peek_messages(sequence_number=number)[0].state.name, "DEFERRED")
        (again,) = receiver.receive_deferred_messages(number)
        equal(str(again), "deferred")
        receiver.complete_message(again)
        raises(ServiceBusError, receiver.receive_deferred_messages, number)


def a_lock_that_has_run_out_is_lost():
    send("plain", text("slow"))
    with client.get_queue_receiver("plain") as receiver:
        (message,) = take(receiver)
        management.advance(2 * MINUTE)
        raises(MessageLockLostError, receiver.complete_message, message)
        (again,) = take(receiver)
        equal((str(again), again.delivery_count), ("slow", 1))
        receiver.complete_message(again)


def a_renewed_lock_holds():
    send("plain", text("slow"))
    with client.get_queue_receiver("plain") as receiver:
        (message,) = take(receiver)
        for _ in range(3):
            management.advance(timedelta(seconds=40))
            receiver.renew_message_lock(message)
        receiver.complete_message(message)
    equal(emptied("plain"), [])


def locks_are_renewed_by_themselves():
    send("brief", text("slow"))
    send("session", text("slow", session_id="renewed"))
    with AutoLockRenewer() as renewer, client.get_queue_receiver("brief") as receiver:
        (message,) = take(receiver)
        renewer.register(receiver, message, max_lock_renewal_duration=30)
        time.sleep(5.5)  # the client goes by its own clock; the lock lasts five seconds
        receiver.complete_message(message)
    equal(emptied("brief"), [])
    equal(bodies(emptied("session", session_id="renewed")), ["slow"])


def a_session_has_one_owner_a_state_and_a_lock():
    send("session", text("s", session_id="a"))
    with client.get_queue_receiver("session", session_id="a") as receiver:
        (message,) = take(receiver)
        raises(SessionCannotBeLockedError, opened, hasty.get_queue_receiver("session", session_id="a"))
        equal(receiver.session.get_state(), None)
        receiver.session.set_state("half way")
        equal(receiver.session.get_state(), b"half way")
        management.advance(timedelta(seconds=40))
        assert receiver.session.renew_lock() > datetime.now(timezone.utc)
        management.advance(timedelta(seconds=40))
        receiver.complete_message(message)
    with client.get_queue_receiver("session", session_id="a") as receiver:
        equal(receiver.session.get_state(), b"half way")
        receiver.session.set_state(None)


def a_session_whose_lock_has_run_out_is_lost():
    send("session", text("s", session_id="b"))
    with client.get_queue_receiver("session", session_id="b") as receiver:
        (message,) = take(receiver)
        management.advance(2 * MINUTE)
        raises(SessionLockLostError, receiver.complete_message, message)
    equal(bodies(emptied("session", session_id="b")), ["s"])


def sessions_are_listed():
    equal(list(client.list_queue_sessions("session")), [])
    send("session", *[text("s", session_id=f"listed-{n}") for n in range(3)])
    with client.get_queue_receiver("session", session_id="with-state") as receiver:
        receiver.session.set_state("kept")
    found = sorted(client.list_queue_sessions("session"))
    equal(found, ["listed-0", "listed-1", "listed-2", "with-state"])
    for session in found:
        emptied("session", session_id=session)
    with client.get_queue_receiver("session", session_id="with-state") as receiver:
        receiver.session.set_state(None)
    equal(list(client.list_queue_sessions("session")), [])


def no_session_is_free():
    raises(OperationTimeoutError, opened,
           hasty.get_queue_receiver("session", session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1))


def sessions_are_for_queues_that_have_them():
    raises(ServiceBusError, send, "session", text("none"), by=hasty)
    raises(ServiceBusError, opened, hasty.get_queue_receiver("session"))
    raises(ServiceBusError, opened, hasty.get_queue_receiver("plain", session_id="a"))


def what_nobody_uses_is_deleted_by_itself():
    admin = administration()
    management.create('queue = [{ name = "idle", auto_delete_on_idle = "5m" }]')
    send("idle", text("used"))
    management.advance(4 * MINUTE)
    send("idle", text("used"))
    management.advance(4 * MINUTE)
    admin.get_queue("idle")
    management.advance(6 * MINUTE)
    raises(MessagingEntityNotFoundError, send, "idle", text("late"), by=hasty)
    raises(ResourceNotFoundError, admin.get_queue, "idle")


def an_entity_is_deleted_under_its_receiver():
    admin = administration()
    admin.create_queue("doomed")
    with hasty.get_queue_receiver("doomed") as receiver:
        equal(receiver.receive_messages(max_wait_time=0.3), [])
        admin.delete_queue("doomed")
        raises(MessagingEntityNotFoundError, receiver.receive_messages, max_wait_time=5)
    raises(MessagingEntityNotFoundError, send, "doomed", text("late"), by=hasty)


def administration():
    return ServiceBusAdministrationClient.from_connection_string(sys.argv[3], connection_verify=sys.argv[4])


def a_signature_by_another_key_is_refused():
    stranger = sys.argv[1].replace("SharedAccessKey=", "SharedAccessKey=x")
    with ServiceBusClient.from_connection_string(stranger, retry_total=0) as unknown:
        raises(ServiceBusAuthenticationError, send, "plain", text("never"), by=unknown)


run(
    locks_are_renewed_by_themselves,  # before the clocks differ
    a_message_larger_than_the_tier_allows_is_refused,
    a_batch_knows_how_large_it_may_be,
    properties_that_are_too_large_are_refused,
    what_expires_is_dead_lettered_where_the_queue_says_so,
    a_message_is_taken_once_within_the_time_of_its_history,
    forwarding_ends_after_four_hops,
    dead_letters_and_copies_are_passed_on,
    who_receives_from_a_queue_that_passes_on_is_told,
    peeking_takes_nothing,
    a_receiver_that_stops_waiting_loses_nothing,
    a_deferred_message_waits_until_it_is_asked_for,
    a_lock_that_has_run_out_is_lost,
    a_renewed_lock_holds,
    a_session_has_one_owner_a_state_and_a_lock,
    a_session_whose_lock_has_run_out_is_lost,
    sessions_are_listed,
    no_session_is_free,
    sessions_are_for_queues_that_have_them,
    what_nobody_uses_is_deleted_by_itself,
    an_entity_is_deleted_under_its_receiver,
    a_signature_by_another_key_is_refused,
)
