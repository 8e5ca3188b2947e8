"""One value: read, checked, shown."""

import pytest

from streamapp.errors import SettingInvalid
from streamapp.settings import BrokerSettings, TransactionSettings, load
from streamapp.settings.fields import shown, text_of


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_a_room_made_by_hand_is_checked_as_well() -> None:
    with pytest.raises(SettingInvalid, match=r"^STREAMAPP_COMMIT_INTERVAL=1: must be 0\.01 to 0\.5 "):
        TransactionSettings(commit_interval=1, transaction_timeout=1.5)
    with pytest.raises(SettingInvalid, match="STREAMAPP_BROKER=h"):
        BrokerSettings(broker="h")


def test_what_cannot_print_itself_is_shown_by_its_type() -> None:
    assert shown(Unprintable()) == "<Unprintable>"
    assert text_of(Unprintable()) == ""


def test_a_value_is_shown_short_and_on_one_line() -> None:
    assert shown("a\nb") == "'a\\nb'"
    assert shown(2.0) == "2"
    assert len(shown("x" * 1000)) < 100


@pytest.mark.parametrize("name", ["broker", "producer_acks", "web_token_file", "sasl_password", "broker_options", "web_peers"])
def test_an_object_from_code_that_cannot_print_itself_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingInvalid, match=f"STREAMAPP_{name.upper()}="):
        load({"app_id": "shop", name: Unprintable()}, {}, {})
