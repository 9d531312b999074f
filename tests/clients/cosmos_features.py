"""The official Cosmos DB client: keys, patches, expiry, feeds, faults, and what is refused.

Usage: cosmos_features.py ENDPOINT KEY MANAGEMENT_ENDPOINT

Needs nothing; makes a database of its own and moves the emulator's clock.
"""

import sys
from datetime import timedelta

from azure.cosmos import CosmosClient, PartitionKey, exceptions
from emulator import Management
from report import equal, raises, run

client = CosmosClient(sys.argv[1], sys.argv[2])
management = Management(sys.argv[3])
database = client.create_database("features")
items = database.create_container("items", PartitionKey("/pk"), default_ttl=-1)


def refused(status, call, *arguments, **named):
    error = raises(exceptions.CosmosHttpResponseError, call, *arguments, **named)
    equal(error.status_code, status)
    return error


def ids(found):
    return sorted(item["id"] for item in found)


def databases_and_containers_are_listed_changed_and_deleted():
    other = client.create_database("other")
    refused(409, client.create_database, "other")
    other.create_container("one", PartitionKey("/pk"))
    two = other.create_container("two", PartitionKey("/pk"))
    equal(ids(other.list_containers()), ["one", "two"])
    equal(ids(other.query_containers("SELECT * FROM c WHERE c.id = 'two'")), ["two"])
    other.replace_container(two, PartitionKey("/pk"), default_ttl=60)
    equal(two.read()["defaultTtl"], 60)
    other.delete_container("one")
    equal(ids(other.list_containers()), ["two"])
    equal(ids(client.query_databases("SELECT * FROM d WHERE d.id = 'other'")), ["other"])
    client.delete_database("other")
    refused(404, other.read)


def a_unique_key_is_unique_within_its_partition():
    policy = {"uniqueKeys": [{"paths": ["/email"]}]}
    people = database.create_container("people", PartitionKey("/pk"), unique_key_policy=policy)
    people.create_item({"id": "1", "pk": "a", "email": "x@example.com"})
    raises(exceptions.CosmosResourceExistsError, people.create_item, {"id": "2", "pk": "a", "email": "x@example.com"})
    people.create_item({"id": "2", "pk": "b", "email": "x@example.com"})
    people.create_item({"id": "3", "pk": "a", "email": "y@example.com"})
    equal(ids(people.read_all_items()), ["1", "2", "3"])


def upserts_replaces_and_deletes_do_what_they_say():
    items.upsert_item({"id": "u", "pk": "a", "n": 1})
    items.upsert_item({"id": "u", "pk": "a", "n": 2})
    equal(items.read_item("u", "a")["n"], 2)
    refused(404, items.replace_item, "absent", {"id": "absent", "pk": "a"})
    items.delete_item("u", "a")
    refused(404, items.read_item, "u", "a")
    refused(404, items.delete_item, "u", "a")


def a_patch_changes_parts_under_a_condition():
    items.create_item({"id": "p", "pk": "a", "n": 1, "list": [1], "old": True})
    changes = [{"op": "incr", "path": "/n", "value": 4}, {"op": "add", "path": "/list/-", "value": 2},
               {"op": "set", "path": "/new", "value": "x"}, {"op": "replace", "path": "/list/0", "value": 9},
               {"op": "remove", "path": "/old"}]
    refused(412, items.patch_item, "p", "a", changes, filter_predicate="FROM c WHERE c.n = 7")
    equal(items.read_item("p", "a")["n"], 1)
    changed = items.patch_item("p", "a", changes, filter_predicate="FROM c WHERE c.n = 1")
    equal((changed["n"], changed["list"], changed["new"], "old" in changed), (5, [9, 2], "x", False))
    refused(400, items.patch_item, "p", "a", [{"op": "remove", "path": "/absent"}])


def items_expire_by_the_emulators_clock():
    items.create_item({"id": "short", "pk": "ttl", "ttl": 60})
    items.create_item({"id": "ever", "pk": "ttl"})
    management.advance(timedelta(seconds=59))
    items.read_item("short", "ttl")
    management.advance(timedelta(seconds=2))
    refused(404, items.read_item, "short", "ttl")
    equal(ids(items.query_items("SELECT * FROM c", partition_key="ttl")), ["ever"])


def hierarchical_keys_are_read_whole_and_by_their_beginning():
    nested = database.create_container("nested", PartitionKey(["/tenant", "/user"], kind="MultiHash"))
    for tenant, user in (("a", "1"), ("a", "2"), ("b", "1")):
        nested.create_item({"id": "i", "tenant": tenant, "user": user})
    equal(nested.read_item("i", ["a", "2"])["user"], "2")
    equal(sorted(item["user"] for item in nested.query_items("SELECT * FROM c", partition_key=["a"])), ["1", "2"])
    equal(len(list(nested.query_items("SELECT * FROM c", partition_key=["b", "1"]))), 1)


def many_are_read_at_once():
    for n in range(5):
        items.create_item({"id": f"many-{n}", "pk": f"m{n % 2}"})
    found = items.read_items([(f"many-{n}", f"m{n % 2}") for n in (0, 1, 4)])
    equal(ids(found), ["many-0", "many-1", "many-4"])


def queries_go_through_all_partitions_in_pages():
    for n in range(12):
        items.create_item({"id": f"q{n:02}", "pk": f"q{n % 4}", "n": n, "kind": "query"})
    sql = "SELECT VALUE c.n FROM c WHERE c.kind = 'query' ORDER BY c.n DESC"
    pages = items.query_items(sql, enable_cross_partition_query=True, max_item_count=5).by_page()
    equal([n for page in pages for n in page], list(range(11, -1, -1)))
    total = items.query_items("SELECT VALUE COUNT(1) FROM c WHERE c.kind = 'query'", enable_cross_partition_query=True)
    equal(list(total), [12])
    refused(400, list, items.query_items("SELECT * FORM c", partition_key="q0"))


def a_query_may_have_thousands_of_conditions_and_not_millions():
    items.create_item({"id": "conditions", "pk": "a", "number": 4711})
    many = " OR ".join(f"c.number = {n}" for n in range(5000))
    equal(ids(items.query_items(f"SELECT * FROM c WHERE {many}", partition_key="a")), ["conditions"])
    for deep in ("(" * 50_000 + "true" + ")" * 50_000, "NOT " * 50_000 + "true", "c.n = 1 OR " * 50_000 + "true"):
        refused(400, list, items.query_items(f"SELECT * FROM c WHERE {deep}", partition_key="a"))
    refused(400, items.create_item, {"id": "deep", "pk": "a", "value": lists(500)})
    items.read_item("conditions", "a")


def lists(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def the_change_feed_goes_on_where_it_stopped():
    feed = database.create_container("feed", PartitionKey("/pk"))
    for n in range(4):
        feed.create_item({"id": f"{n}", "pk": f"{n % 2}"})
    seen = feed.query_items_change_feed(start_time="Beginning")
    equal(ids(seen), ["0", "1", "2", "3"])
    token = feed.client_connection.last_response_headers["etag"]
    feed.create_item({"id": "4", "pk": "0"})
    equal(ids(feed.query_items_change_feed(continuation=token)), ["4"])
    equal(ids(feed.query_items_change_feed(start_time="Beginning", partition_key="1")), ["1", "3"])
    parts = [item for part in feed.read_feed_ranges()
             for item in feed.query_items_change_feed(start_time="Beginning", feed_range=part)]
    equal(ids(parts), ["0", "1", "2", "3", "4"])


def partitions_are_split_and_merged_under_a_reader():
    busy = database.create_container("busy", PartitionKey("/pk"))
    for n in range(10):
        busy.create_item({"id": f"{n}", "pk": f"{n}"})
    list(busy.query_items_change_feed(start_time="Beginning"))
    token = busy.client_connection.last_response_headers["etag"]
    parts = management.repartition("features", "busy")
    for change in "split", "merge":
        parts = management.repartition("features", "busy", **{change: parts[0] if change == "split" else parts[:2]})
        equal(len(list(busy.query_items("SELECT * FROM c", enable_cross_partition_query=True))), 10)
        busy.upsert_item({"id": "0", "pk": "0", "change": change})
        equal(ids(busy.query_items_change_feed(continuation=token)), ["0"])


def a_session_token_is_given_out_and_taken():
    items.upsert_item({"id": "session", "pk": "a"})
    token = items.client_connection.last_response_headers["x-ms-session-token"]
    assert ":" in token, token
    equal(items.read_item("session", "a", session_token=token)["id"], "session")


def the_client_tries_again_what_is_worth_it():
    management.fail("cosmos_throttle", 2)
    items.upsert_item({"id": "patient", "pk": "a"})
    equal(management.heal(), {"cosmos_throttle": 2})
    management.fail("cosmos_throttle", 100)
    refused(429, items.read_item, "patient", "a")  # after nine more attempts
    management.heal()
    management.fail("cosmos_retry_with", 1)
    raises(exceptions.CosmosHttpResponseError, items.upsert_item, {"id": "patient", "pk": "a"})
    management.heal()
    management.fail("cosmos_lose_response", 1)
    items.read_item("patient", "a")
    equal(management.heal(), {"cosmos_lose_response": 1})


def what_is_not_supported_says_so():
    body = {"id": "p", "body": "function () {}"}
    scripts = items.scripts
    for call in (scripts.create_stored_procedure, scripts.create_trigger, scripts.create_user_defined_function):
        error = raises(exceptions.CosmosHttpResponseError, call, {**body, "triggerType": "Pre", "triggerOperation": "All"})
        assert error.status_code in (400, 501) and "not supported" in str(error), error
    error = raises(exceptions.CosmosHttpResponseError, database.create_user, {"id": "somebody"})
    assert "not supported" in str(error), error


def another_key_is_refused():
    refused(401, CosmosClient, sys.argv[1], "d3Jvbmc=", retry_total=0)


run(
    databases_and_containers_are_listed_changed_and_deleted,
    a_unique_key_is_unique_within_its_partition,
    upserts_replaces_and_deletes_do_what_they_say,
    a_patch_changes_parts_under_a_condition,
    items_expire_by_the_emulators_clock,
    hierarchical_keys_are_read_whole_and_by_their_beginning,
    many_are_read_at_once,
    queries_go_through_all_partitions_in_pages,
    a_query_may_have_thousands_of_conditions_and_not_millions,
    the_change_feed_goes_on_where_it_stopped,
    partitions_are_split_and_merged_under_a_reader,
    a_session_token_is_given_out_and_taken,
    the_client_tries_again_what_is_worth_it,
    what_is_not_supported_says_so,
    another_key_is_refused,
)
