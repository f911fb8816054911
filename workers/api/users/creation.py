"""Routes that make users: with a password in plain text, or with one that another system hashed."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller
from workers.api.errors import bad_request
from workers.api.params import Body, CustomId
from workers.api.people import hashes, passwords
from workers.api.people.fields import Email, OptionalEmail, OptionalPassword, OptionalPhone, PersonName
from workers.api.people.policies import read_policies
from workers.api.people.users import create_user
from workers.api.responses import documented
from workers.api.services import services_of
from workers.api.users.access import Writer, respond_with_user
from workers.models.users import User, show_user
from workers.store.ids import choose_id

router = APIRouter(tags=["users"])

_CREATED = documented(User, 201)

Hash = Annotated[str, Field(min_length=8, max_length=256, description="The password's hash.")]
Salt = Annotated[str, Field(max_length=256)]


class NewUser(Body):
    """A user to be made; all but the ID may be left out."""

    userId: CustomId
    email: OptionalEmail = None
    phone: OptionalPhone = None
    password: OptionalPassword = None
    name: PersonName = ""


class ImportedUser(Body):
    """A user to be made with a hash that needs no options."""

    userId: CustomId
    email: Email
    password: Hash
    name: PersonName = ""


class ShaUser(ImportedUser):
    """A user to be made with a hash of one of the SHA functions."""

    passwordVersion: Literal[
        "", "sha1", "sha224", "sha256", "sha384", "sha512/224", "sha512/256", "sha512", "sha3-224", "sha3-256",
        "sha3-384", "sha3-512",
    ] = ""  # fmt: skip


class ScryptUser(ImportedUser):
    """A user to be made with a hash of scrypt (RFC 7914), in hexadecimal digits."""

    passwordSalt: Salt
    passwordCpu: Annotated[int, Field(ge=2, le=1_048_576)]
    passwordMemory: Annotated[int, Field(ge=1, le=1024)]
    passwordParallel: Annotated[int, Field(ge=1, le=16)]
    passwordLength: Annotated[int, Field(ge=16, le=128)]


class ScryptModifiedUser(ImportedUser):
    """A user to be made with a hash of Firebase's scrypt; all of it is base64."""

    passwordSalt: Salt
    passwordSaltSeparator: Salt
    passwordSignerKey: Salt


@router.post("/v1/users", response_model=None, responses=_CREATED, operation_id="usersCreate")
async def create(request: Request, body: NewUser, caller: Writer) -> Response:
    """Create a user."""
    password_hash = None
    if body.password is not None:
        services = services_of(request)
        async with services.store.read() as connection:
            policies = await read_policies(connection, caller.project.id, services.settings)
        personal = (body.name, body.email or "", body.phone or "")
        await passwords.check_password_rules(body.password, policies.stored, personal=personal)
        password_hash = await passwords.hash_password(body.password)
    async with services_of(request).store.write(caller.project) as tx:
        row = await create_user(
            tx,
            user_id=choose_id(body.userId),
            email=body.email,
            phone=body.phone,
            name=body.name,
            password_hash=password_hash,
            show=show_user,
        )
        return await respond_with_user(tx.connection, caller.project.id, row, 201)


@router.post(
    "/v1/users/argon2", response_model=None, responses=_CREATED, operation_id="usersCreateArgon2User"
)
async def create_argon2(request: Request, body: ImportedUser, caller: Writer) -> Response:
    """Create a user with a password hashed by argon2, in its encoded form."""
    return await _import(request, caller, body, "argon2", None)


@router.post(
    "/v1/users/bcrypt", response_model=None, responses=_CREATED, operation_id="usersCreateBcryptUser"
)
async def create_bcrypt(request: Request, body: ImportedUser, caller: Writer) -> Response:
    """Create a user with a password hashed by bcrypt, in its encoded form."""
    return await _import(request, caller, body, "bcrypt", {})


@router.post("/v1/users/md5", response_model=None, responses=_CREATED, operation_id="usersCreateMD5User")
async def create_md5(request: Request, body: ImportedUser, caller: Writer) -> Response:
    """Create a user with a password hashed by MD5, in hexadecimal digits."""
    return await _import(request, caller, body, "md5", {})


@router.post(
    "/v1/users/phpass", response_model=None, responses=_CREATED, operation_id="usersCreatePHPassUser"
)
async def create_phpass(request: Request, body: ImportedUser, caller: Writer) -> Response:
    """Create a user with a password hashed by phpass, in its encoded form."""
    return await _import(request, caller, body, "phpass", {})


@router.post("/v1/users/sha", response_model=None, responses=_CREATED, operation_id="usersCreateSHAUser")
async def create_sha(request: Request, body: ShaUser, caller: Writer) -> Response:
    """Create a user with a password hashed by a SHA function, SHA3-512 unless another is named."""
    return await _import(request, caller, body, "sha", {"version": body.passwordVersion or "sha3-512"})


@router.post(
    "/v1/users/scrypt", response_model=None, responses=_CREATED, operation_id="usersCreateScryptUser"
)
async def create_scrypt(request: Request, body: ScryptUser, caller: Writer) -> Response:
    """Create a user with a password hashed by scrypt."""
    options = {
        "salt": body.passwordSalt,
        "costCpu": body.passwordCpu,
        "costMemory": body.passwordMemory,
        "costParallel": body.passwordParallel,
        "length": body.passwordLength,
    }
    return await _import(request, caller, body, "scrypt", options)


@router.post(
    "/v1/users/scrypt-modified",
    response_model=None,
    responses=_CREATED,
    operation_id="usersCreateScryptModifiedUser",
)
async def create_scrypt_modified(request: Request, body: ScryptModifiedUser, caller: Writer) -> Response:
    """Create a user with a password hashed by Firebase's scrypt."""
    options = {
        "salt": body.passwordSalt,
        "saltSeparator": body.passwordSaltSeparator,
        "signerKey": body.passwordSignerKey,
    }
    return await _import(request, caller, body, "scryptMod", options)


async def _import(
    request: Request, caller: Caller, body: ImportedUser, algorithm: str, options: Mapping[str, Any] | None
) -> Response:
    try:
        hashes.check(algorithm, body.password, options or {})
    except ValueError as error:
        raise bad_request(f"Invalid `password` param: {error}.") from error
    async with services_of(request).store.write(caller.project) as tx:
        row = await create_user(
            tx,
            user_id=choose_id(body.userId),
            email=body.email,
            name=body.name,
            password_hash=body.password,
            algorithm=algorithm,
            options=hashes.argon2_options(body.password) if options is None else options,
            show=show_user,
        )
        return await respond_with_user(tx.connection, caller.project.id, row, 201)
