"""The official Cosmos DB client against an emulator that enforces provisioned throughput.

Usage: cosmos_throttled.py ENDPOINT KEY

Needs nothing; makes databases of its own. A container has four partitions, each with a quarter of its throughput.
"""

import sys

from azure.cosmos import CosmosClient, PartitionKey, ThroughputProperties, documents, exceptions
from azure.cosmos._retry_options import RetryOptions
from report import equal, run

patient = CosmosClient(sys.argv[1], sys.argv[2])
never_again = documents.ConnectionPolicy()
never_again.RetryOptions = RetryOptions(max_retry_attempt_count=0)
hasty = CosmosClient(sys.argv[1], sys.argv[2], connection_policy=never_again)
database = patient.create_database_if_not_exists("throttled")


def container(name, throughput, of=database):
    of.create_container(name, PartitionKey("/stream"), offer_throughput=throughput)
    return [client.get_database_client(of.id).get_container_client(name) for client in (patient, hasty)]


def refused_within(items, writes):
    """The error of the first write of so many that is refused; `None` if none is."""
    for n in range(writes):
        try:
            items.upsert_item({"id": str(n), "stream": "s"})
        except exceptions.CosmosHttpResponseError as refused:
            equal((refused.status_code, refused.sub_status), (429, 3200))
            return refused
    return None


def who_does_not_wait_is_told_how_long():
    _, hurried = container("hasty", 400)
    refused = refused_within(hurried, 200)
    assert refused is not None, "nothing was refused"
    assert "Request rate is large" in refused.message, refused.message
    assert 1 <= int(refused.headers["x-ms-retry-after-ms"]) <= 1000, refused.headers


def who_waits_gets_through():
    waiting, _ = container("patient", 400)
    equal(refused_within(waiting, 60), None)
    equal(list(waiting.query_items("SELECT VALUE COUNT(1) FROM c", partition_key="s")), [60])


def replaced_throughput_is_there_at_once():
    waiting, hurried = container("replaced", 400)
    equal(waiting.get_throughput().offer_throughput, 400)
    waiting.replace_throughput(40_000)
    equal(waiting.get_throughput().offer_throughput, 40_000)
    equal(refused_within(hurried, 100), None)


def autoscale_is_limited_by_its_maximum():
    waiting, hurried = container("autoscale", ThroughputProperties(auto_scale_max_throughput=1000))
    equal(waiting.get_throughput().auto_scale_max_throughput, 1000)
    assert refused_within(hurried, 400) is not None, "nothing was refused"
    waiting.replace_throughput(ThroughputProperties(auto_scale_max_throughput=40_000))
    equal(waiting.get_throughput().auto_scale_max_throughput, 40_000)
    equal(refused_within(hurried, 100), None)


def a_databases_throughput_is_for_all_its_containers():
    sharing = patient.create_database("sharing", offer_throughput=400)
    equal(sharing.get_throughput().offer_throughput, 400)
    _, one = container("one", None, of=sharing)
    _, other = container("other", None, of=sharing)
    for hurried in (one, other):
        assert refused_within(hurried, 200) is not None, "nothing was refused"
    sharing.replace_throughput(80_000)
    equal(sharing.get_throughput().offer_throughput, 80_000)
    equal(refused_within(one, 100), None)


run(
    who_does_not_wait_is_told_how_long,
    who_waits_gets_through,
    replaced_throughput_is_there_at_once,
    autoscale_is_limited_by_its_maximum,
    a_databases_throughput_is_for_all_its_containers,
)
