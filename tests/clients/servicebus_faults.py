"""The official Service Bus client lives through the faults that the emulator makes on purpose.

Usage: servicebus_faults.py CONNECTION_STRING MANAGEMENT_ENDPOINT

Needs nothing; makes entities of its own.
"""

from azure.servicebus.exceptions import MessageLockLostError, MessagingEntityDisabledError, ServiceBusServerBusyError
from receiving import WAIT, take
from report import equal, raises, run
from servicebus_queues import bodies, client, emptied, hasty, management, send, text

management.create("""
queue = [{ name = "plain" }, { name = "once", duplicate_detection = "10m" }]
""")


def a_busy_server_is_asked_again():
    management.fail("server_busy", 2)
    send("plain", text("patient"))
    equal(management.heal(), {"server_busy": 2})
    management.fail("server_busy", 1)
    raises(ServiceBusServerBusyError, send, "plain", text("hasty"), by=hasty)
    management.heal()
    equal(bodies(emptied("plain")), ["patient"])


def a_link_that_is_detached_is_opened_again():
    management.fail("detach_link", 2)
    send("plain", text("detached"))
    equal(management.heal(), {"detach_link": 2})
    with hasty.get_queue_receiver("plain") as receiver:
        management.fail("detach_link", 1, condition="com.microsoft:entity-disabled")
        raises(MessagingEntityDisabledError, receiver.receive_messages, max_wait_time=WAIT)
    management.heal()
    with client.get_queue_receiver("plain", max_wait_time=WAIT) as receiver:
        management.fail("detach_link", 1)
        (message,) = take(receiver)
        management.heal()
        equal(str(message), "detached")
        receiver.complete_message(message)


def a_connection_that_is_lost_is_made_again():
    management.fail("drop_connection", 2)
    send("once", text("dropped", message_id="dropped"))
    equal(management.heal(), {"drop_connection": 2})
    equal(bodies(emptied("once")), ["dropped"])
    # Stored, and the sender never hears of it: it sends again, and the history knows.
    management.fail("lose_outcome", 1)
    send("once", text("unheard", message_id="unheard"))
    equal(management.heal(), {"lose_outcome": 1})
    equal(bodies(emptied("once")), ["unheard"])


def a_connection_that_is_held_up_goes_on():
    management.fail("delay", 3, delay_ms=300)
    send("plain", text("delayed"))
    management.heal()
    management.fail("stall", 1, delay_ms=500)
    send("once", text("stalled", message_id="stalled"))
    equal(management.heal(), {"stall": 1})
    equal((bodies(emptied("plain")), bodies(emptied("once"))), (["delayed"], ["stalled"]))


def locks_are_lost_on_purpose():
    send("plain", text("unlucky"))
    with client.get_queue_receiver("plain") as receiver:
        (message,) = take(receiver)
        management.fail("lose_settle", 1)
        raises(MessageLockLostError, receiver.complete_message, message)
        management.heal()
        (message,) = take(receiver)
        management.fail("expire_lock", 1)
        raises(MessageLockLostError, receiver.renew_message_lock, message)
        management.heal()
        (message,) = take(receiver)
        equal(message.delivery_count, 2)
        receiver.complete_message(message)
    equal(emptied("plain"), [])


def a_message_comes_once_more_on_purpose():
    send("plain", text("again"))
    with client.get_queue_receiver("plain") as receiver:
        management.fail("repeat_delivery", 1)
        receiver.complete_message(take(receiver)[0])
        equal(management.heal(), {"repeat_delivery": 1})
        (message,) = take(receiver)
        equal(str(message), "again")
        receiver.complete_message(message)
    equal(emptied("plain"), [])


run(
    a_busy_server_is_asked_again,
    a_link_that_is_detached_is_opened_again,
    a_connection_that_is_lost_is_made_again,
    a_connection_that_is_held_up_goes_on,
    locks_are_lost_on_purpose,
    a_message_comes_once_more_on_purpose,
)
