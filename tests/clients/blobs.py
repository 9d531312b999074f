"""The official Blob Storage client and the checkpoint stores on it against the emulator.

Usage: blobs.py CONNECTION_STRING MANAGEMENT_ENDPOINT
"""

import asyncio
import json
import sys
import urllib.request
import uuid
from datetime import datetime, timedelta, timezone

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore
from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore as AsyncBlobCheckpointStore
from azure.storage.blob import (
    AccountSasPermissions,
    BlobBlock,
    BlobLeaseClient,
    BlobSasPermissions,
    BlobServiceClient,
    ContentSettings,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
)
from report import equal, run

CONNECTION, MANAGEMENT = sys.argv[1:3]
service = BlobServiceClient.from_connection_string(CONNECTION)
NAMESPACE, HUB, GROUP = "shop.servicebus.windows.net", "orders", "$Default"


def container():
    return service.create_container(f"c-{uuid.uuid4().hex}")


def raises(kind, call, code=None):
    try:
        call()
    except kind as error:
        if code:
            equal(str(getattr(error.error_code, "value", error.error_code)), code)
        return error
    raise AssertionError(f"{kind.__name__} expected, nothing was raised")


def containers_are_created_once_described_listed_and_deleted():
    name = f"box-{uuid.uuid4().hex}"
    box = service.create_container(name, metadata={"team": "billing"})
    raises(ResourceExistsError, lambda: service.create_container(name), "ContainerAlreadyExists")
    equal(box.get_container_properties().metadata, {"team": "billing"})
    box.set_container_metadata({"team": "ops"})
    found = list(service.list_containers(name_starts_with="box-", include_metadata=True))
    equal([(c.name, c.metadata) for c in found], [(name, {"team": "ops"})])
    box.delete_container()
    assert not box.exists()
    raises(ResourceNotFoundError, box.get_container_properties, "ContainerNotFound")
    raises(HttpResponseError, lambda: service.create_container("No"), "InvalidResourceName")


def a_blob_comes_back_as_it_was_put_whole_or_in_part():
    blob = container().get_blob_client("claims/a file ü+%.bin")
    content = bytes(range(256)) * 64
    settings = ContentSettings(content_type="application/x-claim", content_encoding="zip", cache_control="no-store")
    blob.upload_blob(content, metadata={"Kind": "claim <&> check"}, content_settings=settings)
    equal(blob.download_blob().readall(), content)
    equal(blob.download_blob(offset=1000, length=24).readall(), content[1000:1024])
    about = blob.get_blob_properties()
    equal((about.size, about.metadata), (len(content), {"kind": "claim <&> check"}))
    equal((about.content_settings.content_type, about.content_settings.content_encoding), ("application/x-claim", "zip"))
    blob.upload_blob(b"", overwrite=True)
    equal(blob.download_blob().readall(), b"")
    blob.delete_blob()
    raises(ResourceNotFoundError, blob.download_blob, "BlobNotFound")
    raises(ResourceNotFoundError, blob.delete_blob, "BlobNotFound")


def a_large_blob_is_made_of_blocks():
    client = BlobServiceClient.from_connection_string(CONNECTION, max_single_put_size=1024, max_block_size=64 * 1024,
                                                      max_single_get_size=64 * 1024, max_chunk_get_size=64 * 1024)
    blob = client.get_blob_client(container().container_name, "large")
    content = bytes(n % 251 for n in range(300_000))
    blob.upload_blob(content, max_concurrency=3)
    equal(blob.download_blob(max_concurrency=3).readall(), content)
    blob.stage_block("eA==", b"tail")
    committed, waiting = blob.get_block_list("all")
    equal((len(committed), [block.id for block in waiting]), (5, ["eA=="]))
    blob.commit_block_list([committed[0], BlobBlock("eA==")])
    equal(blob.download_blob().readall(), content[: 64 * 1024] + b"tail")
    raises(HttpResponseError, lambda: blob.commit_block_list([BlobBlock("bm8=")]), "InvalidBlockList")


def what_was_corrupted_on_its_way_is_refused():
    blob = container().get_blob_client("sum")
    blob.upload_blob(b"content", validate_content=True)
    wrong = {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}
    raises(HttpResponseError, lambda: blob.upload_blob(b"content", overwrite=True, headers=wrong), "Md5Mismatch")


def only_one_of_two_writers_wins():
    blob = container().get_blob_client("lease")
    first = blob.upload_blob(b"")
    raises(ResourceExistsError, lambda: blob.upload_blob(b"x"), "BlobAlreadyExists")
    second = blob.set_blob_metadata({"owner": "a"}, etag=first["etag"], match_condition=MatchConditions.IfNotModified)
    stale = lambda: blob.set_blob_metadata({"owner": "b"}, etag=first["etag"], match_condition=MatchConditions.IfNotModified)
    raises(ResourceModifiedError, stale, "ConditionNotMet")
    equal(blob.get_blob_properties().metadata, {"owner": "a"})
    equal(blob.get_blob_properties().etag, second["etag"])


def a_listing_has_prefixes_folders_metadata_and_pages():
    box = container()
    for n in range(25):
        box.upload_blob(f"a/{n % 5}/{n:02}", b"x" * n, metadata={"n": str(n)})
    box.upload_blob("b", b"")
    equal(sum(1 for _ in box.list_blobs()), 26)
    pages = list(box.list_blobs(name_starts_with="a/", include=["metadata"], results_per_page=10).by_page())
    blobs = [blob for page in pages for blob in page]
    equal(len(blobs), 25)
    equal({blob.name: (blob.metadata["n"], blob.size) for blob in blobs}["a/2/12"], ("12", 12))
    equal([entry.name for entry in box.walk_blobs()], ["a/", "b"])
    equal([entry.name for entry in box.walk_blobs("a/")], [f"a/{n}/" for n in range(5)])


def who_has_no_key_is_kept_out():
    name = container().container_name
    endpoint = service.url.rstrip("/")
    anonymous = BlobServiceClient(endpoint).get_container_client(name)
    raises(HttpResponseError, anonymous.get_container_properties, "NoAuthenticationInformation")
    wrong = {"account_name": "devstoreaccount1", "account_key": "bm90IHRoZSBrZXk="}
    raises(HttpResponseError, BlobServiceClient(endpoint, wrong).get_container_client(name).get_container_properties,
           "AuthenticationFailed")


def a_shared_access_signature_opens_what_it_says_until_it_ends():
    box = container()
    box.upload_blob("claim", b"content")
    key, endpoint = service.credential.account_key, service.url.rstrip("/")
    soon = datetime.now(timezone.utc) + timedelta(hours=1)
    account = lambda expiry, **what: generate_account_sas(
        "devstoreaccount1", key, ResourceTypes(container=True, object=True), AccountSasPermissions(**what), expiry)
    by_sas = lambda sas: BlobServiceClient(endpoint, sas).get_blob_client(box.container_name, "claim")
    equal(by_sas(account(soon, read=True)).download_blob().readall(), b"content")
    raises(HttpResponseError, by_sas(account(soon, read=True)).delete_blob, "AuthorizationPermissionMismatch")
    raises(HttpResponseError, by_sas(account(datetime(2020, 1, 1), read=True)).download_blob, "AuthenticationFailed")
    blob = generate_blob_sas("devstoreaccount1", box.container_name, "claim", account_key=key,
                             permission=BlobSasPermissions(read=True), expiry=soon)
    equal(by_sas(blob).download_blob().readall(), b"content")
    other = BlobServiceClient(endpoint, blob).get_blob_client(box.container_name, "other")
    raises(HttpResponseError, other.download_blob, "AuthenticationFailed")


def what_is_missing_says_so():
    blob = container().get_blob_client("b")
    blob.upload_blob(b"")
    assert "does not have" in raises(HttpResponseError, blob.create_snapshot, "NotImplemented").message


def advance(seconds):
    jump = json.dumps({"advance_ms": seconds * 1000}).encode()
    urllib.request.urlopen(urllib.request.Request(MANAGEMENT + "clock", jump, method="POST")).read()


def lease_of(client):
    about = (client.get_blob_properties if hasattr(client, "get_blob_properties") else client.get_container_properties)()
    return about.lease.state, about.lease.status, about.lease.duration


def who_has_the_lease_of_a_blob_is_the_only_one_to_write_it():
    blob = container().get_blob_client("leader")
    blob.upload_blob(b"nobody")
    etag = blob.get_blob_properties().etag
    lease = blob.acquire_lease(15)
    equal(lease_of(blob), ("leased", "locked", "fixed"))
    equal(blob.get_blob_properties().etag, etag)
    raises(HttpResponseError, lambda: blob.acquire_lease(15), "LeaseAlreadyPresent")
    other = str(uuid.uuid4())
    for write in (lambda **by: blob.upload_blob(b"me", overwrite=True, **by), lambda **by: blob.set_blob_metadata({}, **by),
                  lambda **by: blob.set_http_headers(ContentSettings(), **by), lambda **by: blob.stage_block("eA==", b"x", **by)):
        raises(HttpResponseError, write, "LeaseIdMissing")
        raises(HttpResponseError, lambda: write(lease=other), "LeaseIdMismatchWithBlobOperation")
        write(lease=lease)
    raises(HttpResponseError, blob.delete_blob, "LeaseIdMissing")
    equal(blob.download_blob().readall(), b"me")
    equal(blob.download_blob(lease=lease).readall(), b"me")
    raises(HttpResponseError, lambda: blob.download_blob(lease=other), "LeaseIdMismatchWithBlobOperation")
    held = lease.id
    lease.release()
    equal(lease_of(blob), ("available", "unlocked", None))
    raises(HttpResponseError, lambda: blob.set_blob_metadata({}, lease=held), "LeaseNotPresentWithBlobOperation")
    blob.upload_blob(b"anybody", overwrite=True)


def a_lease_ends_is_renewed_and_is_lost_to_who_comes_next():
    blob = container().get_blob_client("leader")
    blob.upload_blob(b"")
    first = blob.acquire_lease(30)
    advance(25)
    first.renew()
    advance(25)
    equal(lease_of(blob)[0], "leased")
    advance(5)
    equal(lease_of(blob), ("expired", "unlocked", None))
    raises(HttpResponseError, lambda: blob.set_blob_metadata({}, lease=first), "LeaseLost")
    first.renew()  # nobody has come meanwhile
    advance(30)
    second = blob.acquire_lease(-1)
    equal(lease_of(blob), ("leased", "locked", "infinite"))
    for late in (first.renew, first.release):
        raises(HttpResponseError, late, "LeaseIdMismatchWithLeaseOperation")
    advance(100_000)
    equal(lease_of(blob)[0], "leased")
    second.release()
    third = blob.acquire_lease(15)
    advance(15)
    blob.set_blob_metadata({"by": "somebody"})
    raises(HttpResponseError, third.renew, "LeaseIdMismatchWithLeaseOperation")


def a_lease_can_be_changed_and_broken():
    blob = container().get_blob_client("leader")
    blob.upload_blob(b"")
    lease = blob.acquire_lease(60)
    old, new = lease.id, str(uuid.uuid4())
    lease.change(new)
    equal(lease.id, new)
    raises(HttpResponseError, lambda: blob.set_blob_metadata({}, lease=old), "LeaseIdMismatchWithBlobOperation")
    assert 0 < lease.break_lease(10) <= 10
    equal(lease_of(blob), ("breaking", "locked", None))
    raises(HttpResponseError, lease.renew, "LeaseIsBrokenAndCannotBeRenewed")
    raises(HttpResponseError, lambda: blob.acquire_lease(15), "LeaseAlreadyPresent")
    blob.set_blob_metadata({"last": "words"}, lease=lease)
    advance(10)
    equal(lease_of(blob), ("broken", "unlocked", None))
    blob.acquire_lease(15)
    equal(lease_of(blob)[0], "leased")
    free = container().get_blob_client("free")
    free.upload_blob(b"")
    raises(HttpResponseError, BlobLeaseClient(free).break_lease, "LeaseNotPresentWithLeaseOperation")
    raises(HttpResponseError, lambda: free.acquire_lease(5), "InvalidHeaderValue")


def a_leased_container_is_deleted_by_who_has_the_lease():
    box = container()
    lease = box.acquire_lease(60)
    equal(lease_of(box), ("leased", "locked", "fixed"))
    box.upload_blob("b", b"")  # its blobs are not leased with it
    raises(HttpResponseError, box.delete_container, "LeaseIdMissing")
    raises(HttpResponseError, lambda: box.delete_container(lease=str(uuid.uuid4())), "LeaseIdMismatchWithContainerOperation")
    leased = [(c.name, c.lease.state) for c in service.list_containers(name_starts_with=box.container_name)]
    equal(leased, [(box.container_name, "leased")])
    box.delete_container(lease=lease)
    assert not box.exists()


def ownership(partition, owner, etag=None):
    return {"fully_qualified_namespace": NAMESPACE, "eventhub_name": HUB, "consumer_group": GROUP,
            "partition_id": partition, "owner_id": owner, "etag": etag}


def checkpoint(partition, offset, number):
    return {"fully_qualified_namespace": NAMESPACE, "eventhub_name": HUB, "consumer_group": GROUP,
            "partition_id": partition, "offset": offset, "sequence_number": number}


def the_checkpoint_store_lets_one_owner_have_a_partition():
    name = container().container_name
    store = BlobCheckpointStore.from_connection_string(CONNECTION, name)
    claimed = store.claim_ownership([ownership("0", "me"), ownership("1", "me")])
    equal(sorted(claim["partition_id"] for claim in claimed), ["0", "1"])
    equal(store.claim_ownership([ownership("0", "you")]), [])
    listed = {o["partition_id"]: o for o in store.list_ownership(NAMESPACE, HUB, GROUP)}
    equal({o["owner_id"] for o in listed.values()}, {"me"})
    taken = store.claim_ownership([ownership("0", "you", listed["0"]["etag"])])
    equal([claim["owner_id"] for claim in taken], ["you"])
    equal(store.claim_ownership([ownership("0", "me", listed["0"]["etag"])]), [])
    for number in (7, 9):
        store.update_checkpoint(checkpoint("0", str(number * 100), number))
    saved = list(store.list_checkpoints(NAMESPACE, HUB, GROUP))
    equal([(c["partition_id"], c["offset"], c["sequence_number"]) for c in saved], [("0", "900", 9)])


def the_asynchronous_checkpoint_store_does_the_same():
    name = container().container_name

    async def use():
        async with AsyncBlobCheckpointStore.from_connection_string(CONNECTION, name) as store:
            racing = [store.claim_ownership([ownership("3", f"owner-{n}")]) for n in range(5)]
            winners = [claim for claims in await asyncio.gather(*racing) for claim in claims]
            equal(len(winners), 1)
            await store.update_checkpoint(checkpoint("3", "40", 4))
            saved = list(await store.list_checkpoints(NAMESPACE, HUB, GROUP))
            equal([(c["partition_id"], c["sequence_number"]) for c in saved], [("3", 4)])

    asyncio.run(use())


run(
    containers_are_created_once_described_listed_and_deleted,
    a_blob_comes_back_as_it_was_put_whole_or_in_part,
    a_large_blob_is_made_of_blocks,
    what_was_corrupted_on_its_way_is_refused,
    only_one_of_two_writers_wins,
    who_has_the_lease_of_a_blob_is_the_only_one_to_write_it,
    a_lease_ends_is_renewed_and_is_lost_to_who_comes_next,
    a_lease_can_be_changed_and_broken,
    a_leased_container_is_deleted_by_who_has_the_lease,
    a_listing_has_prefixes_folders_metadata_and_pages,
    who_has_no_key_is_kept_out,
    a_shared_access_signature_opens_what_it_says_until_it_ends,
    what_is_missing_says_so,
    the_checkpoint_store_lets_one_owner_have_a_partition,
    the_asynchronous_checkpoint_store_does_the_same,
)
