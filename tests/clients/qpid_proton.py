"""Apache Qpid Proton against the emulator: an AMQP engine of its own, which knows nothing of Azure.

Usage: qpid_proton.py SERVICEBUS_CONNECTION_STRING EVENTHUBS_CONNECTION_STRING

Needs: queue `work` (3 deliveries), session queue `sessions`, event hub `order-events`.
"""

import sys

from proton import (
    Condition,
    ConnectionException,
    Delivery,
    Described,
    Message,
    Timeout,
    int32,
    symbol,
    ulong,
)
from proton.handlers import MessagingHandler, TransactionHandler
from proton.reactor import AtMostOnce, Container, Filter, ReceiverOption
from proton.utils import BlockingConnection, LinkDetached
from report import equal, run

WAIT = 20  # seconds; an answer comes at once, or something is broken
SILENCE = 1  # second, where nothing is to come
DEAD_LETTER = "com.microsoft:dead-letter"


def address(connection_string):
    """Where it is, and whom to be there: the rule's name and key, which SASL PLAIN takes as they are."""
    parts = dict(part.split("=", 1) for part in connection_string.strip(";").split(";"))
    host = parts["Endpoint"].split("//")[1].strip("/")
    plain = dict(allowed_mechs="PLAIN", allow_insecure_mechs=True, sasl_enabled=True)
    return f"amqp://{host}", dict(user=parts["SharedAccessKeyName"], password=parts["SharedAccessKey"], **plain)


SERVICEBUS, EVENTHUBS = (address(given) for given in sys.argv[1:3])


def connect(to=SERVICEBUS, **options):
    url, credentials = to
    return BlockingConnection(url, timeout=WAIT, **(credentials | options))


def send(*messages, entity="work", **options):
    connection = connect(**options)
    sender = connection.create_sender(entity)
    for message in messages:
        sender.send(message)
    connection.close()


def drained(entity="work", how=lambda receiver: receiver.accept()):
    """All that is there, in order."""
    connection = connect()
    receiver = connection.create_receiver(entity, credit=10)
    messages = []
    try:
        while True:
            messages.append(receiver.receive(timeout=SILENCE))
            how(receiver)
    except Timeout:
        connection.close()
        return messages


class ReplyTo(ReceiverOption):
    def apply(self, receiver):
        receiver.target.address = "replies"


def peeked(entity="work"):
    """All that is there, locked or not, by a request on the management node."""
    connection, node = connect(), f"{entity}/$management"
    replies = connection.create_receiver(node, credit=1, options=ReplyTo())
    body = {"from-sequence-number": 0, "message-count": int32(100)}
    operation = {"operation": "com.microsoft:peek-message"}
    connection.create_sender(node).send(Message(id="1", reply_to="replies", properties=operation, body=body))
    answer = replies.receive()
    connection.close()
    equal(answer.properties["statusCode"], 200)
    messages = []
    for entry in answer.body["messages"]:
        messages.append(Message())
        messages[-1].decode(bytes(entry["message"]))
    return messages


def ids(messages):
    return [message.id for message in messages]


def refused(condition, act):
    try:
        act()
    except (LinkDetached, ConnectionException) as error:
        assert condition in str(error), f"expected {condition}, got {error}"
        return str(error)
    raise AssertionError(f"expected {condition}, and it was done")


def messages_come_in_order_with_what_the_service_adds():
    send(*(Message(id=f"m{n}", body={"n": n}, subject="note", properties={"n": n}) for n in range(5)))
    messages = drained()
    equal(ids(messages), [f"m{n}" for n in range(5)])
    equal([message.body["n"] for message in messages], list(range(5)))
    for message in messages:
        for name in ("x-opt-sequence-number", "x-opt-enqueued-time", "x-opt-locked-until"):
            assert symbol(name) in message.annotations, f"{name} is missing in {message.annotations}"


def a_wrong_key_is_not_let_in():
    refused("amqp:unauthorized-access", lambda: connect(password="wrong"))


def an_entity_that_is_not_there_is_named():
    connection = connect()
    assert "nowhere" in refused("amqp:not-found", lambda: connection.create_sender("nowhere"))
    connection.close()


def messages_given_back_count_only_when_their_delivery_failed():
    send(Message(id="given-back"))
    connection = connect()
    receiver = connection.create_receiver("work", credit=1)
    counts = []
    for failed in (True, False, True):
        counts.append(receiver.receive().delivery_count)
        receiver.release(delivered=failed)
        receiver.flow(1)
    connection.close()
    equal(counts[0], 0)
    assert counts[1] > counts[0], counts
    [message] = drained()
    assert message.delivery_count >= 2, message.delivery_count


def what_is_rejected_is_a_dead_letter_with_its_reason():
    send(Message(id="bad"))
    connection = connect()
    receiver = connection.create_receiver("work", credit=1)
    receiver.receive()
    delivery = receiver.fetcher.unsettled.popleft()
    info = {symbol("DeadLetterReason"): "Unreadable", symbol("DeadLetterErrorDescription"): "no date"}
    delivery.local.condition = Condition(DEAD_LETTER, "", info)
    delivery.update(Delivery.REJECTED)
    connection.wait(lambda: delivery.settled or delivery.remote_state)
    connection.close()
    [dead] = drained("work/$deadletterqueue")
    equal(dead.properties["DeadLetterReason"], "Unreadable")
    equal(dead.properties["DeadLetterErrorDescription"], "no date")


def deliveries_settled_by_the_broker_are_gone():
    send(Message(id="a"), Message(id="b"))
    connection = connect()
    receiver = connection.create_receiver("work", credit=2, options=AtMostOnce())
    equal([receiver.receive().id, receiver.receive().id], ["a", "b"])
    connection.close()
    equal(drained(), [])


def a_message_of_many_small_frames_is_whole():
    body = bytes(range(256)) * 800
    send(Message(id="big", body=body), max_frame_size=4096)
    [message] = drained()
    equal(message.body, body)


def a_message_too_large_is_refused_by_its_size():
    connection = connect()
    sender = connection.create_sender("work")
    too_large = Message(body=b"x" * 300_000)
    delivery = sender.link.send(too_large)
    connection.wait(lambda: delivery.remote_state)
    equal(delivery.remote.condition.name, "amqp:link:message-size-exceeded")
    delivery.settle()
    # The link is none the worse for it.
    sender.send(Message(id="small"))
    equal(ids(drained()), ["small"])
    connection.close()


def a_connection_that_nothing_is_said_on_is_kept_by_heartbeats():
    connection = connect(heartbeat=1)
    sender = connection.create_sender("work")
    try:
        connection.wait(lambda: False, timeout=4)
    except Timeout:
        pass
    sender.send(Message(id="still-there"))
    connection.close()
    equal(ids(drained()), ["still-there"])


class Session(Filter):
    def __init__(self, name):
        code = ulong(0x00000137000000C)
        super().__init__({symbol("com.microsoft:session-filter"): Described(code, name)})


def sessions_are_taken_by_name_and_as_they_come():
    for name in ("gold", "silver"):
        message = Message(id=name)
        message.group_id = name
        send(message, entity="sessions")
    taken = []
    for wanted in ("silver", None):
        connection = connect()
        receiver = connection.create_receiver("sessions", credit=1, options=Session(wanted))
        taken.append(receiver.receive().group_id)
        receiver.accept()
        connection.close()
    equal(taken, ["silver", "gold"])


class Transactions(MessagingHandler, TransactionHandler):
    """Takes one message and sends another in each of two transactions, and aborts the second."""

    def __init__(self):
        super().__init__(prefetch=0, auto_accept=False)
        self.said = []

    def on_start(self, event):
        url, credentials = SERVICEBUS
        self.container, self.connection = event.container, event.container.connect(url, **credentials)
        self.sender = self.container.create_sender(self.connection, "work")
        self.receiver = self.container.create_receiver(self.connection, "work")
        self.begin()

    def begin(self):
        self.container.declare_transaction(self.connection, handler=self)

    def on_transaction_declared(self, event):
        self.transaction = event.transaction
        self.receiver.flow(1)

    def on_message(self, event):
        self.transaction.accept(event.delivery)
        again = len(self.said)
        self.transaction.send(self.sender, Message(id=f"made-in-{again}"))
        self.transaction.abort() if again else self.transaction.commit()

    def on_transaction_committed(self, event):
        self.said.append("committed")
        self.begin()

    def on_transaction_aborted(self, event):
        self.said.append("aborted")
        self.connection.close()

    def failed(self, event):
        self.said.append("failed")
        event.container.stop()

    on_transaction_declare_failed = on_transaction_commit_failed = on_link_error = on_transport_error = failed


def what_a_transaction_takes_and_sends_is_done_whole_or_not_at_all():
    send(Message(id="first"), Message(id="second"))
    transactions = Transactions()
    Container(transactions).run()
    equal(transactions.said, ["committed", "aborted"])
    # What was taken and not completed stays locked for the rest of its time.
    equal(sorted(ids(peeked())), ["made-in-0", "second"])
    equal(ids(drained()), ["made-in-0"])


class From(Filter):
    def __init__(self, selector):
        name = symbol("apache.org:selector-filter:string")
        super().__init__({name: Described(ulong(0x0000468C00000004), selector)})


def events_are_read_from_where_one_wants():
    connection = connect(EVENTHUBS)
    sender = connection.create_sender("order-events/Partitions/0")
    for n in range(3):
        sender.send(Message(body=f"event {n}"))

    def read(selector, count):
        path = "order-events/ConsumerGroups/$Default/Partitions/0"
        receiver = connection.create_receiver(path, credit=10, options=From(selector))
        events = [receiver.receive() for _ in range(count)]
        receiver.close()
        return events

    events = read("amqp.annotation.x-opt-offset > '-1'", 3)
    equal([event.body for event in events], ["event 0", "event 1", "event 2"])
    after = events[0].annotations[symbol("x-opt-sequence-number")]
    equal([event.body for event in read(f"amqp.annotation.x-opt-sequence-number > '{after}'", 2)], ["event 1", "event 2"])
    connection.close()


run(
    messages_come_in_order_with_what_the_service_adds,
    a_wrong_key_is_not_let_in,
    an_entity_that_is_not_there_is_named,
    messages_given_back_count_only_when_their_delivery_failed,
    what_is_rejected_is_a_dead_letter_with_its_reason,
    deliveries_settled_by_the_broker_are_gone,
    a_message_of_many_small_frames_is_whole,
    a_message_too_large_is_refused_by_its_size,
    a_connection_that_nothing_is_said_on_is_kept_by_heartbeats,
    sessions_are_taken_by_name_and_as_they_come,
    what_a_transaction_takes_and_sends_is_done_whole_or_not_at_all,
    events_are_read_from_where_one_wants,
)
