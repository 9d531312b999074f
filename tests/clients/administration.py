"""The official Service Bus administration client against the emulator.

Usage: administration.py ADMINISTRATION_CONNECTION_STRING CA_FILE SERVICEBUS_CONNECTION_STRING
"""

import sys
import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.exceptions import (
    MessageSizeExceededError,
    MessagingEntityDisabledError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusError,
)
from azure.servicebus.management import (
    AccessRights,
    AuthorizationRule,
    CorrelationRuleFilter,
    EntityStatus,
    ServiceBusAdministrationClient,
    SqlRuleAction,
    SqlRuleFilter,
    TrueRuleFilter,
)
from report import equal, raises, run

admin = ServiceBusAdministrationClient.from_connection_string(sys.argv[1], connection_verify=sys.argv[2])


def name(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def the_namespace_describes_itself():
    found = admin.get_namespace_properties()
    equal((str(found.messaging_sku), found.name, found.messaging_units), ("Standard", "azevents-emulator", None))
    since = datetime.now(timezone.utc) - found.created_at_utc
    assert timedelta(0) <= since < timedelta(hours=1), found.created_at_utc


def entities_know_when_they_were_created_changed_and_used():
    queue, topic, subscription = name("queue"), name("topic"), "s"
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    admin.create_queue(queue)
    admin.create_topic(topic)
    admin.create_subscription(topic, subscription)
    times = {
        queue: lambda: admin.get_queue_runtime_properties(queue),
        topic: lambda: admin.get_topic_runtime_properties(topic),
        subscription: lambda: admin.get_subscription_runtime_properties(topic, subscription),
    }
    created = {}
    for entity, runtime in times.items():
        found = runtime()
        created[entity] = found.created_at_utc
        assert before <= found.created_at_utc <= datetime.now(timezone.utc), (entity, found.created_at_utc)
        equal((found.updated_at_utc, found.accessed_at_utc.year), (found.created_at_utc, 1))
    with ServiceBusClient.from_connection_string(sys.argv[3]) as client:
        for sender in (client.get_queue_sender(queue), client.get_topic_sender(topic)):
            with sender:
                sender.send_messages(ServiceBusMessage("used"))
        equal(times[subscription]().accessed_at_utc.year, 1)
        with client.get_subscription_receiver(topic, subscription) as receiver:
            receiver.complete_message(receiver.receive_messages(1, max_wait_time=10)[0])
    for update, get, arguments in ((admin.update_queue, admin.get_queue, [queue]),
                                   (admin.update_topic, admin.get_topic, [topic])):
        found = get(*arguments)
        found.user_metadata = "changed"
        update(found)
    found = admin.get_subscription(topic, subscription)
    found.user_metadata = "changed"
    admin.update_subscription(topic, found)
    for entity, runtime in times.items():
        found = runtime()
        equal(found.created_at_utc, created[entity])
        assert found.updated_at_utc > found.created_at_utc, entity
        assert found.created_at_utc < found.accessed_at_utc < found.updated_at_utc, (entity, found.accessed_at_utc)
    admin.delete_queue(queue)
    admin.delete_topic(topic)


def all_that_is_set_comes_back():
    rules = [AuthorizationRule(type="SharedAccessAuthorizationRule", claim_type="SharedAccessKey", claim_value="None",
                               key_name=key, primary_key=f"{key}-first", secondary_key=f"{key}-second", rights=rights)
             for key, rights in (("all", [AccessRights.MANAGE, AccessRights.SEND, AccessRights.LISTEN]),
                                 ("reader", [AccessRights.LISTEN]))]

    def same_rules(found):
        equal([(rule.key_name, rule.rights, rule.primary_key, rule.secondary_key) for rule in found],
              [(rule.key_name, rule.rights, rule.primary_key, rule.secondary_key) for rule in rules])
        assert all(rule.type == "SharedAccessAuthorizationRule" and rule.created_at_utc == rule.modified_at_utc
                   for rule in found)

    queue, topic = name("queue"), name("topic")
    given = {"user_metadata": " a <note> & more ", "enable_batched_operations": False, "enable_express": True,
             "max_size_in_megabytes": 5120, "duplicate_detection_history_time_window": timedelta(minutes=3)}
    admin.create_queue(queue, authorization_rules=rules, **given)
    admin.create_topic(topic, authorization_rules=rules, support_ordering=False, **given)
    for found in (admin.get_queue(queue), admin.get_topic(topic)):
        equal({key: getattr(found, key) for key in given}, given)
        same_rules(found.authorization_rules)
    equal(admin.get_topic(topic).support_ordering, False)
    admin.create_subscription(topic, "s", user_metadata="of it", enable_batched_operations=False)
    found = admin.get_subscription(topic, "s")
    equal((found.user_metadata, found.enable_batched_operations), ("of it", False))
    found = admin.get_queue(queue)
    rules.pop()
    found.authorization_rules, found.user_metadata = rules, None
    admin.update_queue(found)
    equal(admin.get_queue(queue).user_metadata, None)
    same_rules(admin.get_queue(queue).authorization_rules)
    error = raises(HttpResponseError, admin.create_queue, name("queue"), user_metadata="x" * 1025)
    equal(error.status_code, 400)
    admin.delete_queue(queue)
    admin.delete_topic(topic)


def a_rules_key_opens_its_entity_for_what_the_rule_allows():
    mine, other = name("mine"), name("other")
    rules = [AuthorizationRule(type="SharedAccessAuthorizationRule", claim_type="SharedAccessKey", claim_value="None",
                               key_name=key, primary_key=f"{key}-first", secondary_key=f"{key}-second", rights=[right])
             for key, right in (("sender", AccessRights.SEND), ("reader", AccessRights.LISTEN))]
    admin.create_queue(mine, authorization_rules=rules)
    admin.create_queue(other)
    endpoint = sys.argv[3].split("SharedAccessKeyName=")[0] + "UseDevelopmentEmulator=true;"

    def client(key, secret):
        with_key = f"{endpoint}SharedAccessKeyName={key};SharedAccessKey={secret};"
        return ServiceBusClient.from_connection_string(with_key, retry_total=0)

    def send(client, queue, method="send_messages", *more):
        with client, client.get_queue_sender(queue) as sender:
            getattr(sender, method)(ServiceBusMessage("hello"), *more)

    def receive(client, queue):
        with client, client.get_queue_receiver(queue) as receiver:
            receiver.peek_messages(1)
            message = receiver.receive_messages(1, max_wait_time=10)[0]
            receiver.complete_message(message)

    send(client("sender", "sender-first"), mine)
    send(client("sender", "sender-second"), mine, "schedule_messages", datetime.now(timezone.utc))
    receive(client("reader", "reader-second"), mine)
    lacks, unknown = ServiceBusAuthorizationError, ServiceBusAuthenticationError
    for error, refused in ((lacks, lambda: send(client("reader", "reader-first"), mine)),
                           (lacks, lambda: receive(client("sender", "sender-first"), mine)),
                           (unknown, lambda: send(client("sender", "sender-first"), other)),
                           (unknown, lambda: send(client("sender", "reader-first"), mine)),
                           (unknown, lambda: receive(client("reader", "reader-first"), other))):
        raises(error, refused)
    found = admin.get_queue(mine)
    found.authorization_rules = rules[:1]
    admin.update_queue(found)
    raises(ServiceBusAuthenticationError, receive, client("reader", "reader-first"), mine)
    bad = AuthorizationRule(type="SharedAccessAuthorizationRule", claim_type="SharedAccessKey", claim_value="None",
                            key_name="bad", primary_key="1", secondary_key="2", rights=[AccessRights.MANAGE])
    equal(raises(HttpResponseError, admin.create_queue, name("queue"), authorization_rules=[bad]).status_code, 400)
    admin.delete_queue(mine)
    admin.delete_queue(other)


def what_is_chosen_at_creation_stays_and_limits_are_the_services():
    queue, topic = name("queue"), name("topic")
    found = admin.create_queue(queue, requires_duplicate_detection=True)
    found.duplicate_detection_history_time_window = timedelta(minutes=1)
    admin.update_queue(found)
    equal(admin.get_queue(queue).duplicate_detection_history_time_window, timedelta(minutes=1))
    for wrong, said in (("requires_duplicate_detection", "RequiresDuplicateDetection property of an existing Queue"),
                        ("requires_session", "RequiresSession property of an existing Queue")):
        changed = admin.get_queue(queue)
        setattr(changed, wrong, not getattr(changed, wrong))
        error = raises(HttpResponseError, admin.update_queue, changed)
        equal(error.status_code, 400)
        assert said in str(error) and "SubCode=40000" in str(error), error
    admin.create_topic(topic)
    admin.create_subscription(topic, "s", requires_session=True)
    changed = admin.get_subscription(topic, "s")
    changed.requires_session = False
    equal(raises(HttpResponseError, admin.update_subscription, topic, changed).status_code, 400)
    changed = admin.get_topic(topic)
    changed.requires_duplicate_detection = True
    equal(raises(HttpResponseError, admin.update_topic, changed).status_code, 400)
    changed.name = name("missing")
    raises(ResourceNotFoundError, admin.update_topic, changed)
    raises(ResourceExistsError, admin.create_topic, queue)
    for wrong in ({"lock_duration": timedelta(minutes=6)}, {"max_size_in_megabytes": 1025}, {"forward_to": "nowhere"},
                  {"max_delivery_count": 2001}, {"enable_express": True, "requires_duplicate_detection": True},
                  {"requires_duplicate_detection": True,
                   "duplicate_detection_history_time_window": timedelta(seconds=19)}):
        equal((wrong, raises(HttpResponseError, admin.create_queue, name("queue"), **wrong).status_code), (wrong, 400))
    admin.delete_queue(queue)
    admin.delete_topic(topic)


def a_queue_is_created_with_settings_changed_and_deleted():
    queue = name("queue")
    made = admin.create_queue(queue, lock_duration=timedelta(seconds=30), max_delivery_count=3, requires_session=True,
                              default_message_time_to_live=timedelta(hours=1), requires_duplicate_detection=True,
                              duplicate_detection_history_time_window=timedelta(minutes=2),
                              dead_lettering_on_message_expiration=True)
    equal((made.name, made.lock_duration, made.max_delivery_count), (queue, timedelta(seconds=30), 3))
    raises(ResourceExistsError, admin.create_queue, queue)
    found = admin.get_queue(queue)
    equal((found.requires_session, found.requires_duplicate_detection, found.default_message_time_to_live),
          (True, True, timedelta(hours=1)))
    equal(found.duplicate_detection_history_time_window, timedelta(minutes=2))
    found.max_delivery_count, found.lock_duration = 5, timedelta(minutes=1)
    admin.update_queue(found)
    again = admin.get_queue(queue)
    equal((again.max_delivery_count, again.lock_duration, again.requires_session), (5, timedelta(minutes=1), True))
    found.requires_session = False
    raises(HttpResponseError, admin.update_queue, found)
    admin.delete_queue(queue)
    raises(ResourceNotFoundError, admin.get_queue, queue)
    raises(ResourceNotFoundError, admin.delete_queue, queue)


def what_is_created_can_be_used_and_counted():
    queue = name("queue")
    admin.create_queue(queue)
    with ServiceBusClient.from_connection_string(sys.argv[3]) as client:
        with client.get_queue_sender(queue) as sender, client.get_queue_receiver(queue) as receiver:
            sender.send_messages([ServiceBusMessage(str(n)) for n in range(5)])
            message = receiver.receive_messages(1, max_wait_time=10)[0]
            receiver.dead_letter_message(message)
    counts = admin.get_queue_runtime_properties(queue)
    equal((counts.active_message_count, counts.dead_letter_message_count, counts.total_message_count), (4, 1, 5))


def topics_subscriptions_and_rules_are_administered_alike():
    topic, subscription = name("topic"), "billing"
    admin.create_topic(topic, default_message_time_to_live=timedelta(days=2), max_size_in_megabytes=2048)
    made = admin.get_topic(topic)
    equal((made.default_message_time_to_live, made.max_size_in_megabytes), (timedelta(days=2), 2048))
    admin.create_subscription(topic, subscription, max_delivery_count=7)
    equal(admin.get_subscription(topic, subscription).max_delivery_count, 7)
    equal(admin.get_topic_runtime_properties(topic).subscription_count, 1)
    equal([rule.name for rule in admin.list_rules(topic, subscription)], ["$Default"])
    admin.delete_rule(topic, subscription, "$Default")
    admin.create_rule(topic, subscription, "large", filter=SqlRuleFilter("total > 1000 AND note LIKE '<%'"),
                      action=SqlRuleAction("SET priority = 'high'"))
    admin.create_rule(topic, subscription, "mine",
                      filter=CorrelationRuleFilter(correlation_id="c", properties={"tier": "gold", "n": 3}))
    admin.create_rule(topic, subscription, "all", filter=TrueRuleFilter())
    large = admin.get_rule(topic, subscription, "large")
    equal((large.filter.sql_expression, large.action.sql_expression),
          ("total > 1000 AND note LIKE '<%'", "SET priority = 'high'"))
    mine = admin.get_rule(topic, subscription, "mine").filter
    equal((mine.correlation_id, dict(mine.properties)), ("c", {"tier": "gold", "n": 3}))
    age = datetime.now(timezone.utc) - large.created_at_utc
    assert timedelta(0) <= age < timedelta(hours=1), large.created_at_utc
    large.filter = SqlRuleFilter("total > 5")
    admin.update_rule(topic, subscription, large)
    again = admin.get_rule(topic, subscription, "large")
    equal((again.filter.sql_expression, again.created_at_utc), ("total > 5", large.created_at_utc))
    wrong = raises(HttpResponseError, admin.create_rule, topic, subscription, "wrong", filter=SqlRuleFilter("total >"))
    assert "the end" in str(wrong), wrong
    raises(ResourceNotFoundError, admin.get_rule, topic, subscription, "wrong")
    admin.delete_subscription(topic, subscription)
    raises(ResourceNotFoundError, admin.get_subscription, topic, subscription)
    admin.delete_topic(topic)
    raises(ResourceNotFoundError, admin.get_topic, topic)


def messages_and_dead_letters_are_forwarded():
    last, dead, first = name("last"), name("dead"), name("first")
    admin.create_queue(last)
    admin.create_queue(dead)
    admin.create_queue(first, forward_to=last, max_delivery_count=1)
    assert admin.get_queue(first).forward_to.endswith(last), admin.get_queue(first).forward_to
    kept = admin.get_queue(last)
    kept.forward_dead_lettered_messages_to = dead
    admin.update_queue(kept)
    with ServiceBusClient.from_connection_string(sys.argv[3]) as client:
        with client.get_queue_sender(first) as sender:
            sender.send_messages(ServiceBusMessage("on"))
        with client.get_queue_receiver(last) as receiver:
            message = receiver.receive_messages(1, max_wait_time=10)[0]
            equal((str(message), message.enqueued_sequence_number), ("on", 1))
            receiver.dead_letter_message(message, reason="Bad")
        with client.get_queue_receiver(dead) as receiver:
            message = receiver.receive_messages(1, max_wait_time=10)[0]
            equal((str(message), message.dead_letter_reason), ("on", "Bad"))
            receiver.complete_message(message)
        admin.delete_queue(last)
        with client.get_queue_sender(first) as sender:
            sender.send_messages(ServiceBusMessage("nowhere"))
        with client.get_queue_receiver(first, sub_queue=ServiceBusSubQueue.TRANSFER_DEAD_LETTER) as receiver:
            message = receiver.receive_messages(1, max_wait_time=10)[0]
            equal(str(message), "nowhere")
            equal(admin.get_queue_runtime_properties(first).transfer_dead_letter_message_count, 1)
            receiver.complete_message(message)


def entities_are_suspended_and_reactivated():
    queue = name("queue")
    made = admin.create_queue(queue, status=EntityStatus.SEND_DISABLED, max_size_in_megabytes=2048)
    equal((made.status, made.max_size_in_megabytes), (EntityStatus.SEND_DISABLED, 2048))
    with ServiceBusClient.from_connection_string(sys.argv[3], retry_total=0) as client:
        def send(body):
            with client.get_queue_sender(queue) as sender:
                sender.send_messages(ServiceBusMessage(body))

        def receive():
            with client.get_queue_receiver(queue) as receiver:
                return str(receiver.receive_messages(1, max_wait_time=10)[0])

        raises(MessagingEntityDisabledError, send, "never")
        made.status = EntityStatus.RECEIVE_DISABLED
        admin.update_queue(made)
        send("waits")
        raises(MessagingEntityDisabledError, receive)
        made.status = EntityStatus.ACTIVE
        admin.update_queue(made)
        equal(receive(), "waits")
    assert admin.get_queue_runtime_properties(queue).size_in_bytes > 0
    admin.delete_queue(queue)


def a_message_that_a_rule_fails_on_is_dead_lettered_where_the_subscription_says_so():
    topic, subscription = name("topic"), "strict"
    admin.create_topic(topic)
    made = admin.create_subscription(topic, subscription, dead_lettering_on_filter_evaluation_exceptions=True)
    equal(made.dead_lettering_on_filter_evaluation_exceptions, True)
    admin.delete_rule(topic, subscription, "$Default")
    admin.create_rule(topic, subscription, "division", filter=SqlRuleFilter("10 / n = 5"))
    with ServiceBusClient.from_connection_string(sys.argv[3]) as client:
        with client.get_topic_sender(topic) as sender:
            sender.send_messages([ServiceBusMessage(str(n), application_properties={"n": n}) for n in (0, 2)])
        with client.get_subscription_receiver(topic, subscription) as receiver:
            equal(str(receiver.receive_messages(1, max_wait_time=10)[0]), "2")
        with client.get_subscription_receiver(topic, subscription,
                                              sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
            dead = receiver.receive_messages(1, max_wait_time=10)[0]
            equal((str(dead), dead.dead_letter_reason), ("0", "FilterException"))
    admin.delete_topic(topic)


def what_nobody_uses_may_be_deleted_by_itself():
    topic, subscription, idle = name("topic"), "brief", timedelta(minutes=90)
    equal(admin.create_topic(topic, auto_delete_on_idle=idle).auto_delete_on_idle, idle)
    equal(admin.create_subscription(topic, subscription, auto_delete_on_idle=idle).auto_delete_on_idle, idle)
    queue = admin.create_queue(name("queue"))
    assert queue.auto_delete_on_idle > timedelta(days=10_000_000), queue.auto_delete_on_idle
    queue.auto_delete_on_idle = idle
    admin.update_queue(queue)
    equal(admin.get_queue(queue.name).auto_delete_on_idle, idle)
    queue.auto_delete_on_idle = timedelta(minutes=4)
    error = raises(HttpResponseError, admin.update_queue, queue)
    equal(error.status_code, 400)
    assert "at least 5 minutes" in str(error), error
    admin.delete_topic(topic)
    admin.delete_queue(queue.name)


def a_queue_may_take_smaller_messages_than_the_namespace():
    queue = name("queue")
    equal(admin.create_queue(queue, max_message_size_in_kilobytes=64).max_message_size_in_kilobytes, 64)
    with ServiceBusClient.from_connection_string(sys.argv[3], retry_total=0) as client:
        with client.get_queue_sender(queue) as sender:
            sender.send_messages(ServiceBusMessage("x" * 60_000))
            batch = sender.create_message_batch()
            equal(batch.max_size_in_bytes, 64 * 1024)
            raises(MessageSizeExceededError, batch.add_message, ServiceBusMessage("x" * 70_000))
            # The link ends; this client makes no more of it than that.
            raises(ServiceBusError, sender.send_messages, ServiceBusMessage("x" * 70_000))
    equal(admin.get_queue_runtime_properties(queue).total_message_count, 1)
    error = raises(HttpResponseError, admin.create_queue, name("queue"), max_message_size_in_kilobytes=2048)
    equal(error.status_code, 400)
    assert "--max-message-size 2097152" in str(error), error
    admin.delete_queue(queue)


def parameters_stand_for_values_in_conditions_and_actions():
    topic, subscription = name("topic"), "late"
    admin.create_topic(topic)
    admin.create_subscription(topic, subscription)
    admin.delete_rule(topic, subscription, "$Default")
    since = datetime(2024, 5, 1, 12, 30)
    parameters = {"@since": since, "@least": 10, "@city": "Paris", "@rate": 1.5, "@yes": True,
                  "@short": timedelta(minutes=1)}
    condition = "at >= @since AND total > @least AND city = @city AND rate = @rate AND yes = @yes"
    admin.create_rule(topic, subscription, "late", filter=SqlRuleFilter(condition, parameters),
                      action=SqlRuleAction("SET tag = @tag; SET since = @since", {"@tag": "t", "@since": since}))
    again = admin.get_rule(topic, subscription, "late")
    equal({key: value for key, value in again.filter.parameters.items() if key != "@since"},
          {key: value for key, value in parameters.items() if key != "@since"})
    equal(again.filter.parameters["@since"].replace(tzinfo=None), since)
    equal(again.action.parameters["@tag"], "t")
    wrong = raises(HttpResponseError, admin.create_rule, topic, subscription, "wrong",
                   filter=SqlRuleFilter("total > @most", {"@least": 1}))
    assert "@most" in str(wrong), wrong
    with ServiceBusClient.from_connection_string(sys.argv[3]) as client:
        def order(body, **changed):
            properties = {"at": since, "total": 11, "city": "Paris", "rate": 1.5, "yes": True, **changed}
            return ServiceBusMessage(body, application_properties=properties)

        with client.get_topic_sender(topic) as sender:
            sender.send_messages([order("early", at=since - timedelta(seconds=1)), order("small", total=10),
                                  order("other", city="Rome"), order("right")])
        with client.get_subscription_receiver(topic, subscription) as receiver:
            message = receiver.receive_messages(1, max_wait_time=10)[0]
            equal(str(message), "right")
            receiver.complete_message(message)
            properties = message.application_properties
            equal((properties[b"tag"], properties[b"since"], properties[b"at"]),
                  (b"t", properties[b"at"], properties[b"since"]))
    equal(admin.get_subscription_runtime_properties(topic, subscription).total_message_count, 0)
    admin.delete_topic(topic)


def a_correlation_filter_asks_for_values_of_any_kind():
    topic, subscription = name("topic"), "exact"
    admin.create_topic(topic)
    admin.create_subscription(topic, subscription)
    admin.delete_rule(topic, subscription, "$Default")
    at = datetime(2024, 5, 1, 12, 30)
    wanted = {"at": at, "rate": 2.5, "n": 3, "paid": True}
    admin.create_rule(topic, subscription, "exact", filter=CorrelationRuleFilter(properties=wanted))
    admin.create_rule(topic, subscription, "took", filter=CorrelationRuleFilter(properties={"took": timedelta(minutes=1)}))
    kept = admin.get_rule(topic, subscription, "exact").filter.properties
    equal({**kept, "at": kept["at"].replace(tzinfo=None)}, wanted)
    equal(admin.get_rule(topic, subscription, "took").filter.properties, {"took": timedelta(minutes=1)})
    with ServiceBusClient.from_connection_string(sys.argv[3]) as client:
        with client.get_topic_sender(topic) as sender:
            changes = ["same", "at", "rate", "n", "paid"]
            others = {"at": at + timedelta(milliseconds=1), "rate": 2.75, "n": 4, "paid": False}
            sender.send_messages([ServiceBusMessage(body, application_properties={
                **wanted, **{key: value for key, value in others.items() if key == body}}) for body in changes])
        with client.get_subscription_receiver(topic, subscription) as receiver:
            equal([str(message) for message in receiver.receive_messages(10, max_wait_time=3)], ["same"])
    admin.delete_topic(topic)


def decimals_and_times_are_calculated_with():
    topic, subscription = name("topic"), "sums"
    admin.create_topic(topic)
    admin.create_subscription(topic, subscription, dead_lettering_on_filter_evaluation_exceptions=True)
    admin.delete_rule(topic, subscription, "$Default")
    since = datetime(2024, 5, 1, 12, 30)
    parameters = {"@since": since, "@hour": timedelta(hours=1)}
    condition = "price > 12 AND price * 2 < 26 AND at - @since > @hour AND at < @since + @hour + @hour"
    # The client can't read the decimals that it writes itself, only those of .NET.
    admin.create_rule(topic, subscription, "sums", filter=SqlRuleFilter(condition, parameters),
                      action=SqlRuleAction("SET total = price * 2; SET due = at + @hour; REMOVE price", parameters))
    with ServiceBusClient.from_connection_string(sys.argv[3]) as client:
        def order(body, price, at):
            return ServiceBusMessage(body, application_properties={"price": price, "at": at})

        later = since + timedelta(minutes=90)
        with client.get_topic_sender(topic) as sender:
            sender.send_messages([order("right", Decimal("12.50"), later), order("cheap", Decimal("-12.50"), later),
                                  order("dear", Decimal("13.01"), later), order("early", Decimal("12.50"), since),
                                  order("failing", "12.50", later)])
        with client.get_subscription_receiver(topic, subscription) as receiver:
            message = receiver.receive_messages(1, max_wait_time=10)[0]
            properties = message.application_properties
            equal((str(message), properties[b"total"]), ("right", Decimal("25.00")))
            equal(properties[b"due"] - properties[b"at"], 3_600_000)
            receiver.complete_message(message)
        with client.get_subscription_receiver(topic, subscription,
                                              sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
            dead = receiver.receive_messages(1, max_wait_time=10)[0]
            equal((str(dead), dead.dead_letter_reason), ("failing", "FilterException"))
            assert "a text can't be compared to an integer" in dead.dead_letter_error_description, dead
    equal(admin.get_subscription_runtime_properties(topic, subscription).active_message_count, 0)
    admin.delete_topic(topic)


def names_that_are_too_long_are_refused():
    topic = name("topic")
    admin.create_topic(topic)
    error = raises(HttpResponseError, admin.create_subscription, topic, "s" * 51)
    equal(error.status_code, 400)
    assert "from 1 to 50 characters" in str(error), error
    admin.create_subscription(topic, "s" * 50)
    error = raises(HttpResponseError, admin.create_rule, topic, "s" * 50, "r" * 51)
    assert "from 1 to 50 characters" in str(error), error
    admin.create_queue("q" * 260)
    admin.delete_queue("q" * 260)
    admin.delete_topic(topic)


def lists_come_in_pages():
    prefix = name("many")
    for n in range(105):
        admin.create_queue(f"{prefix}-{n:03}")
    found = [queue.name for queue in admin.list_queues() if queue.name.startswith(prefix)]
    equal(found, [f"{prefix}-{n:03}" for n in range(105)])
    assert all(counts.total_message_count == 0 for counts in admin.list_queues_runtime_properties()
               if counts.name.startswith(prefix))
    everything = [queue.name for queue in admin.list_queues()]
    equal([queue.name for queue in admin.list_queues(start_index=7, max_page_size=10)], everything[7:])
    equal([queue.name for queue in admin.list_queues(max_page_size=1000)], everything)
    for queue in found:
        admin.delete_queue(queue)


def a_partitioned_queue_keeps_the_order_of_a_key():
    queue, topic = name("queue"), name("topic")
    made = admin.create_queue(queue, enable_partitioning=True, max_size_in_megabytes=2048)
    equal((made.enable_partitioning, made.max_size_in_megabytes), (True, 16 * 2048))
    admin.update_queue(made)
    equal(admin.get_queue(queue).max_size_in_megabytes, 16 * 2048)
    made.enable_partitioning, made.max_size_in_megabytes = False, 2048
    error = raises(HttpResponseError, admin.update_queue, made)
    assert "Partitioning cannot be changed for Queue" in str(error), error
    admin.create_topic(topic, enable_partitioning=True)
    admin.create_subscription(topic, "s")
    with ServiceBusClient.from_connection_string(sys.argv[3]) as client:
        for sender, receiver in ((client.get_queue_sender(queue), client.get_queue_receiver(queue)),
                                 (client.get_topic_sender(topic), client.get_subscription_receiver(topic, "s"))):
            with sender, receiver:
                keys = ["a", "b", "c"]
                sender.send_messages([ServiceBusMessage(str(n), partition_key=keys[n % 3]) for n in range(30)])
                found = {key: [] for key in keys}
                while sum(map(len, found.values())) < 30:
                    for message in receiver.receive_messages(30, max_wait_time=10):
                        found[message.partition_key].append(message)
                        receiver.complete_message(message)
                for first, key in enumerate(keys):
                    equal([int(str(message)) for message in found[key]], list(range(first, 30, 3)))
                    equal(len({message.sequence_number >> 48 for message in found[key]}), 1)
    admin.delete_queue(queue)
    admin.delete_topic(topic)


def who_has_no_key_is_kept_out():
    stranger = sys.argv[1].replace("SharedAccessKey=", "SharedAccessKey=x")
    stranger = ServiceBusAdministrationClient.from_connection_string(stranger, connection_verify=sys.argv[2])
    equal(raises(HttpResponseError, stranger.get_queue, "q").status_code, 401)


run(
    the_namespace_describes_itself,
    entities_know_when_they_were_created_changed_and_used,
    all_that_is_set_comes_back,
    a_rules_key_opens_its_entity_for_what_the_rule_allows,
    what_is_chosen_at_creation_stays_and_limits_are_the_services,
    a_queue_is_created_with_settings_changed_and_deleted,
    what_is_created_can_be_used_and_counted,
    topics_subscriptions_and_rules_are_administered_alike,
    messages_and_dead_letters_are_forwarded,
    entities_are_suspended_and_reactivated,
    a_message_that_a_rule_fails_on_is_dead_lettered_where_the_subscription_says_so,
    what_nobody_uses_may_be_deleted_by_itself,
    a_queue_may_take_smaller_messages_than_the_namespace,
    parameters_stand_for_values_in_conditions_and_actions,
    a_correlation_filter_asks_for_values_of_any_kind,
    decimals_and_times_are_calculated_with,
    names_that_are_too_long_are_refused,
    lists_come_in_pages,
    a_partitioned_queue_keeps_the_order_of_a_key,
    who_has_no_key_is_kept_out,
)
