from realtime.identity.account import account_object
from realtime.identity.model import User

KEYS = [
    "$id",
    "$createdAt",
    "$updatedAt",
    "name",
    "registration",
    "status",
    "labels",
    "passwordUpdate",
    "email",
    "phone",
    "emailVerification",
    "emailCanonical",
    "emailIsFree",
    "emailIsDisposable",
    "emailIsCorporate",
    "emailIsCanonical",
    "phoneVerification",
    "mfa",
    "prefs",
    "targets",
    "accessedAt",
    "impersonator",
    "impersonatorUserId",
]


class TestAccountObject:
    def test_keys_come_in_the_documented_order(self) -> None:
        assert list(account_object(User("u"))) == KEYS

    def test_unset_keys_are_null_and_prefs_an_empty_object(self) -> None:
        account = account_object(User("u"))
        assert account["$createdAt"] is None
        assert account["impersonatorUserId"] is None
        assert account["prefs"] == {}

    def test_record_fills_what_it_knows(self) -> None:
        user = User("u", "Ada", "a@b.c", "+1", phone_verified=True, labels=("x",), impersonator=True)
        account = account_object(user)
        known = {
            "$id": "u",
            "name": "Ada",
            "email": "a@b.c",
            "phone": "+1",
            "emailVerification": False,
            "phoneVerification": True,
            "labels": ["x"],
            "status": True,
            "impersonator": True,
        }
        assert known.items() <= account.items()

    def test_extra_members_replace_in_place_and_follow(self) -> None:
        account = account_object(User("u", account={"prefs": {"a": 1}, "custom": 2}))
        assert account["prefs"] == {"a": 1}
        assert list(account) == [*KEYS, "custom"]

    def test_what_is_returned_can_be_changed_without_effect_on_the_record(self) -> None:
        user = User("u")
        account_object(user)["impersonatorUserId"] = "x"
        assert account_object(user)["impersonatorUserId"] is None
