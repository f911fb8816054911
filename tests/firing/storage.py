"""How events of buckets and files are fired."""

from tests.firing.world import Case, Fired, World, changed, deleted

BUCKET = "/storage/buckets/{bucketId}"
FILE = f"{BUCKET}/files/{{fileId}}"


async def create_bucket(world: World) -> Fired:
    bucket_id = world.new_id()
    body = {"bucketId": bucket_id, "name": "Pictures", "fileSecurity": True}
    return Fired({"bucketId": bucket_id}, await world.ask("POST", "/storage/buckets", body))


async def create_file(world: World) -> Fired:
    ids = (await create_bucket(world)).ids | {"fileId": world.new_id()}
    file = await world.ask(
        "POST",
        f"{BUCKET}/files".format(**ids),
        data={"fileId": ids["fileId"], "permissions[]": 'read("any")'},
        files={"file": ("hello.txt", b"Hello!")},
    )
    return Fired(ids, file)


CASES: dict[str, Case] = {
    "buckets.[bucketId].create": create_bucket,
    "buckets.[bucketId].update": changed(create_bucket, "PUT", BUCKET, {"name": "Other"}),
    "buckets.[bucketId].delete": deleted(create_bucket, BUCKET),
    "buckets.[bucketId].files.[fileId].create": create_file,
    "buckets.[bucketId].files.[fileId].update": changed(create_file, "PUT", FILE, {"name": "other.txt"}),
    "buckets.[bucketId].files.[fileId].delete": deleted(create_file, FILE),
}
