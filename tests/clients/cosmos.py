"""The official Cosmos DB client against the emulator.

Usage: cosmos.py ENDPOINT KEY

Needs nothing; makes a database of its own.
"""

import sys

from azure.core import MatchConditions
from azure.cosmos import CosmosClient, PartitionKey, exceptions
from report import equal, run

client = CosmosClient(sys.argv[1], sys.argv[2])
database = client.create_database_if_not_exists("official-client")
events = database.create_container_if_not_exists("events", PartitionKey("/stream"), default_ttl=-1)


def commit(stream, first, **more):
    return {"id": f"c{first:020}", "stream": stream, "first": first, **more}


def an_item_is_read_back_and_a_taken_id_is_refused():
    events.create_item(commit("a", 1, text="placed"))
    equal(events.read_item(f"c{1:020}", "a")["text"], "placed")
    try:
        events.create_item(commit("a", 1))
        raise AssertionError("the id was taken twice")
    except exceptions.CosmosResourceExistsError:
        pass


def a_batch_happens_as_a_whole_or_not_at_all():
    events.create_item(commit("b", 1))
    taken = [("read", (f"c{1:020}",)), ("create", (commit("b", 2),)), ("create", (commit("b", 1),))]
    try:
        events.execute_item_batch(taken, partition_key="b")
        raise AssertionError("the batch went through")
    except exceptions.CosmosBatchOperationError as refused:
        equal((refused.status_code, refused.error_index), (409, 2))
    equal([item["first"] for item in events.query_items("SELECT * FROM c", partition_key="b")], [1])
    events.execute_item_batch(taken[:2], partition_key="b")
    equal(events.read_item(f"c{2:020}", "b")["first"], 2)


def an_item_may_be_patched_again_and_again_in_one_batch():
    def incremented(by):
        return "patch", (f"c{1:020}", [{"op": "incr", "path": "/n", "value": by}])

    created = ("create", (commit("p", 1, n=1),))
    events.execute_item_batch([created, incremented(10), incremented(100)], partition_key="p")
    equal(events.read_item(f"c{1:020}", "p")["n"], 111)
    try:
        events.execute_item_batch([incremented(1), created], partition_key="p")
        raise AssertionError("the batch went through")
    except exceptions.CosmosBatchOperationError as refused:
        equal((refused.status_code, refused.error_index), (409, 1))
    equal(events.read_item(f"c{1:020}", "p")["n"], 111)


def a_stale_etag_is_refused():
    events.create_item(commit("c", 1, owner="one"))
    read = events.read_item(f"c{1:020}", "c")
    events.replace_item(read["id"], {**read, "owner": "other"})
    try:
        events.replace_item(read["id"], {**read, "owner": "one"}, etag=read["_etag"],
                            match_condition=MatchConditions.IfNotModified)
        raise AssertionError("a stale etag was taken")
    except exceptions.CosmosAccessConditionFailedError:
        pass


def a_query_finds_a_streams_commits_in_order():
    for first in (1, 4, 9):
        events.create_item(commit("d", first))
    found = events.query_items("SELECT c.first FROM c WHERE c.first >= @from ORDER BY c.first",
                               parameters=[{"name": "@from", "value": 4}], partition_key="d")
    equal([item["first"] for item in found], [4, 9])


def the_change_feed_has_every_commit_in_order_per_stream():
    for first in range(1, 21):
        for stream in ("x", "y", "z"):
            events.create_item(commit(stream, first))
    seen = {}
    for item in events.query_items_change_feed(start_time="Beginning"):
        seen.setdefault(item["stream"], []).append(item["first"])
    for stream in ("x", "y", "z"):
        equal(seen[stream], list(range(1, 21)))


run(
    an_item_is_read_back_and_a_taken_id_is_refused,
    a_batch_happens_as_a_whole_or_not_at_all,
    an_item_may_be_patched_again_and_again_in_one_batch,
    a_stale_etag_is_refused,
    a_query_finds_a_streams_commits_in_order,
    the_change_feed_has_every_commit_in_order_per_stream,
)
