"""The official Cosmos DB client on an account of several regions.

Usage: cosmos_regions.py ENDPOINT KEY MANAGEMENT_ENDPOINT

Needs: the regions East US, which takes the writes, and West US.
"""

import json
import sys
import urllib.request

from azure.cosmos import CosmosClient, PartitionKey
from report import equal, run

EAST, WEST = "East US", "West US"
client = CosmosClient(sys.argv[1], sys.argv[2], preferred_locations=[WEST, EAST])
database = client.create_database("regions")
items = database.create_container("items", PartitionKey("/pk"))


def regions(**change):
    """By name, as they are after the change."""
    body = json.dumps(change).encode() if change else None
    request = urllib.request.Request(sys.argv[3].rstrip("/") + "/cosmos/regions", body)
    with urllib.request.urlopen(request) as answer:
        return {region["name"]: region for region in json.loads(answer.read())}


def the_account_names_its_regions():
    found = regions()
    account = client.get_database_account()
    equal(account.ReadableLocations, [{"name": name, "databaseAccountEndpoint": found[name]["endpoint"]}
                                      for name in (EAST, WEST)])
    equal([location["name"] for location in account.WritableLocations], [EAST])


def what_is_written_in_one_is_read_in_the_other():
    items.create_item({"id": "1", "pk": "a"})
    # Read where the client prefers to, while the region of the writes is lost.
    regions(region=EAST, online=False)
    equal(items.read_item("1", "a")["id"], "1")
    regions(region=EAST, online=True)


def reads_go_on_while_the_preferred_region_is_lost():
    regions(region=WEST, online=False)
    equal(items.read_item("1", "a")["id"], "1")
    equal(len(list(items.query_items("SELECT * FROM c", partition_key="a"))), 1)
    regions(region=WEST, online=True)


def writes_go_to_the_other_region_after_a_failover():
    equal([name for name, region in regions(region=WEST, fail_over=True).items() if region["writes"]], [WEST])
    items.upsert_item({"id": "2", "pk": "a"})
    regions(region=EAST, online=False)
    items.upsert_item({"id": "3", "pk": "a"})
    regions(region=EAST, online=True)
    equal(len(list(items.read_all_items())), 3)


run(
    the_account_names_its_regions,
    what_is_written_in_one_is_read_in_the_other,
    reads_go_on_while_the_preferred_region_is_lost,
    writes_go_to_the_other_region_after_a_failover,
)
