"""Signing: what a key proves, and how keys are changed without a pause."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools

import pytest

from workers.settings import Settings, SettingsError
from workers.signing import InvalidKeys, Keyring

OLD_KEY, NEW_KEY = b"o" * 32, b"n" * 32
TEXT = '{"id": "命令_1"}'


def keyring_of(**keys: bytes) -> Keyring:
    return Keyring.parse(",".join(f"{k}:{base64.b64encode(v).decode()}" for k, v in keys.items()))


def test_a_signature_is_hmac_sha256_of_the_texts_bytes() -> None:
    mac = hmac.new(NEW_KEY, TEXT.encode(), hashlib.sha256).hexdigest()
    assert keyring_of(new=NEW_KEY, old=OLD_KEY).sign(TEXT) == {"kid": "new", "mac": mac}


def test_keys_are_changed_in_three_steps_and_every_signature_is_good_in_between() -> None:
    keyrings = [
        keyring_of(old=OLD_KEY),
        keyring_of(old=OLD_KEY, new=NEW_KEY),
        keyring_of(new=NEW_KEY, old=OLD_KEY),
        keyring_of(new=NEW_KEY),
    ]
    for keyring, next_keyring in itertools.pairwise(keyrings):
        assert next_keyring.fault(TEXT, keyring.sign(TEXT)) is None or keyring is keyrings[2]
        assert keyring.fault(TEXT, next_keyring.sign(TEXT)) is None or keyring is keyrings[0]
    assert keyrings[3].fault(TEXT, keyrings[0].sign(TEXT)) == "signed with an unknown key"


@pytest.mark.parametrize("text", [TEXT + " ", TEXT.replace("1", "2"), "", "\ud800"])
def test_a_signature_of_one_text_is_wrong_for_another(text: str) -> None:
    assert keyring_of(k=OLD_KEY).fault(text, keyring_of(k=OLD_KEY).sign(TEXT)) == "wrongly signed"


def test_a_signature_by_another_key_of_the_same_name_is_wrong() -> None:
    assert keyring_of(k=OLD_KEY).fault(TEXT, keyring_of(k=NEW_KEY).sign(TEXT)) == "wrongly signed"


@pytest.mark.parametrize(
    "signature",
    [None, "", [], {}, {"kid": "k"}, {"mac": ""}, {"kid": 1, "mac": "x"}, {"kid": [], "mac": "x"}],
)
def test_a_message_without_a_valid_signature_field_is_not_signed(signature: object) -> None:
    assert keyring_of(k=OLD_KEY).fault(TEXT, signature) == "not signed"


@pytest.mark.parametrize("mac", ["", "三", "\ud800", "0" * 64, "x" * 100_000])
def test_a_mac_of_any_text_is_refused_as_wrong(mac: str) -> None:
    assert keyring_of(k=OLD_KEY).fault(TEXT, {"kid": "k", "mac": mac}) == "wrongly signed"


SECRET = base64.b64encode(OLD_KEY).decode()


@pytest.mark.parametrize(
    "text",
    [SECRET, f":{SECRET}", f"a b:{SECRET}", f"k:{SECRET},k:{SECRET}", "k:", "k:c2hvcnQ=", "k:???"],
)
def test_keys_that_cannot_be_used_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidKeys) as refusal:
        Keyring.parse(text)
    assert SECRET not in str(refusal.value)
    with pytest.raises(SettingsError, match="EARNEST_SIGNING_KEYS: key"):
        Settings.read({"EARNEST_SIGNING_KEYS": text})


def test_keys_reach_a_child_process_and_no_representation() -> None:
    settings = Settings.read({"EARNEST_SIGNING_KEYS": f"k1:{SECRET}"})
    assert Settings.read(settings.environ()).keyring == settings.keyring
    assert SECRET not in repr(settings)
    assert SECRET not in repr(settings.keyring)


def test_no_key_means_no_signature_is_asked_for() -> None:
    assert not Settings.read({}).keyring
