"""Settings come from flag, environment, file, code or default, in that order, and a wrong one is refused by name."""

from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from enum import Enum
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.errors import ConfigurationError, SettingInvalid
from streamapp.settings import (
    OWNED_OPTIONS,
    Origin,
    Secret,
    Settings,
    handles,
    load,
    names,
    process_environment,
    values,
    variable,
)

APP: dict[str, object] = {"app_id": "shop"}


def from_environment(**variables: str) -> Settings:
    return load(APP, {}, {f"STREAMAPP_{name.upper()}": value for name, value in variables.items()})


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(SettingInvalid) as caught:
        make()
    message = str(caught.value)
    assert message.isprintable(), "a refusal is one line"
    return message


# -- order and origin


def test_each_source_wins_over_the_ones_below_it() -> None:
    code, file = {**APP, "commit_interval": 1}, {"commit_interval": 2}
    environ, flags = {"STREAMAPP_COMMIT_INTERVAL": "3"}, {"commit_interval": 4}
    assert load(code, file, environ, flags=flags).transaction.commit_interval == 4
    assert load(code, file, environ).transaction.commit_interval == 3
    assert load(code, file, {}).transaction.commit_interval == 2
    assert load(code, {}, {}).transaction.commit_interval == 1
    assert load(APP, {}, {}).transaction.commit_interval == 0.2


@pytest.mark.parametrize(
    ("sources", "origin"),
    [
        (({"app_id": "a"}, {}, {}), Origin.CODE),
        (({}, {"app_id": "a"}, {}), Origin.PYPROJECT),
        (({}, {}, {"STREAMAPP_APP_ID": "a"}), Origin.ENVIRONMENT),
    ],
)
def test_the_origin_of_each_value_is_kept(
    sources: tuple[dict[str, object], dict[str, object], dict[str, str]], origin: str
) -> None:
    settings = load(*sources)
    assert settings.origin["app_id"] == origin
    assert settings.origin["commit_interval"] == "default"
    assert set(settings.origin) == set(names())


def test_a_flag_or_code_of_none_is_not_given() -> None:
    settings = load({**APP, "worker_id": None}, {}, {"STREAMAPP_WEB_PORT": "7"}, flags={"web_port": None})
    assert settings.web.web_port == 7
    assert settings.origin["worker_id"] == "default"


def test_the_app_needs_a_name() -> None:
    assert refusal(lambda: load({}, {}, {})).startswith("STREAMAPP_APP_ID is not set")


def test_a_source_is_named_where_the_variable_is_not_the_place() -> None:
    assert refusal(lambda: from_environment(commit_interval="40")) == (
        "STREAMAPP_COMMIT_INTERVAL=40: must be 0.01 to 10 (a third of transaction_timeout)"
    )
    assert refusal(lambda: load(APP, {"commit_interval": 40}, {})) == (
        "STREAMAPP_COMMIT_INTERVAL=40: must be 0.01 to 10 (a third of transaction_timeout); "
        "set in [tool.streamapp] of pyproject.toml as commit_interval"
    )
    assert refusal(lambda: load({**APP, "broker_commit_interval": 40}, {}, {})).endswith(
        "; set in code as broker_commit_interval"
    )
    assert refusal(lambda: load(APP, {}, {}, flags={"web_port": -1})).endswith("; set in flag as web_port")
    assert refusal(lambda: from_environment(broker_session_timeout="0")).endswith("; set as STREAMAPP_BROKER_SESSION_TIMEOUT")


# -- names


def test_an_unknown_variable_is_told_with_the_nearest_name_and_does_not_refuse() -> None:
    (notice,) = from_environment(commit_intervall="1").notices
    assert "STREAMAPP_COMMIT_INTERVALL" in notice
    assert "STREAMAPP_COMMIT_INTERVAL" in notice.rpartition("nearest is")[2]


@pytest.mark.parametrize("name", ["TEST_CRASH_AT", "JAVA", "JAVA_HOME", "KAFKA_HOME"])
def test_reserved_variables_are_not_told(name: str) -> None:
    assert load(APP, {}, {f"STREAMAPP_{name}": "x"}).notices == ()


@pytest.mark.parametrize("source", ["code", "file"])
def test_an_unknown_key_in_code_or_file_is_refused_with_the_nearest_name(source: str) -> None:
    wrong: dict[str, object] = {"comit_interval": 1}
    message = refusal(lambda: load(APP | wrong, {}, {}) if source == "code" else load(APP, wrong, {}))
    assert "comit_interval" in message
    assert "the nearest is commit_interval" in message


def test_the_list_of_modules_in_the_file_is_no_setting() -> None:
    assert load({}, {"app_id": "shop", "modules": ["agents"]}, {}).identity.app_id == "shop"
    assert "no such setting" in refusal(lambda: load({**APP, "modules": []}, {}, {}))


def test_fausts_own_variables_are_ignored_and_named_once() -> None:
    settings = load(APP, {}, {"PROCESSING_GUARANTEE": "at_least_once", "WEB_BIND": "0.0.0.0", "HOME": "/"})
    assert settings.transaction.exactly_once
    assert settings.notices == ("ignored, only STREAMAPP_… is read here: PROCESSING_GUARANTEE, WEB_BIND",)


def test_two_names_of_one_setting_may_agree_and_may_not_differ() -> None:
    assert load({**APP, "session_timeout": 50, "broker_session_timeout": "50"}, {}, {}).group.session_timeout == 50
    message = refusal(lambda: from_environment(session_timeout="50", broker_session_timeout="40"))
    assert "STREAMAPP_SESSION_TIMEOUT" in message
    assert "STREAMAPP_BROKER_SESSION_TIMEOUT" in message
    assert "session_timeout and broker_session_timeout" in refusal(
        lambda: load({**APP, "session_timeout": 50, "broker_session_timeout": 40}, {}, {})
    )


def test_the_environment_overrides_a_fausts_name_in_code() -> None:
    assert load({**APP, "broker_commit_interval": 1}, {}, {"STREAMAPP_COMMIT_INTERVAL": "2"}).transaction.commit_interval == 2


def test_settings_of_faust_without_effect_are_accepted_and_named_once() -> None:
    settings = load({**APP, "stream_wait_empty": True, "broker_check_crcs": 1}, {}, {"STREAMAPP_PRODUCER_THREADED": "1"})
    assert settings.notices == (
        "settings of Faust that have no effect here (code): broker_check_crcs, stream_wait_empty",
        "settings of Faust that have no effect here (environment): STREAMAPP_PRODUCER_THREADED",
    )


@pytest.mark.parametrize("name", ["max_poll_records", "broker_max_poll_records", "producer_acks", "producer_linger_ms"])
def test_some_names_are_refused_with_a_sentence(name: str) -> None:
    assert refusal(lambda: load({**APP, name: 1}, {}, {})).startswith(variable(name))
    assert refusal(lambda: from_environment(**{name: "1"})).startswith(variable(name))


def test_acks_of_all_is_what_we_do_anyway() -> None:
    assert load({**APP, "producer_acks": -1}, {}, {}) == load({**APP, "producer_acks": "all"}, {}, {})


def test_the_application_can_tell_which_keywords_are_settings() -> None:
    assert all(map(handles, ["commit_interval", "datadir", "stream_wait_empty", "producer_acks", "sasl_password_file"]))
    assert not any(map(handles, ["origin", "autodiscover", "worker_id_file"]))


# -- values


@pytest.mark.parametrize("text", ["", " ", "nan", "NaN", "inf", "-inf", "1e999", "true", "0x10", "1_0", "٣", "1,5", "1 s", "--1"])
def test_a_number_is_a_plain_finite_number(text: str) -> None:
    message = refusal(lambda: from_environment(commit_interval=text))
    assert message.startswith("STREAMAPP_COMMIT_INTERVAL=")
    assert "must be a number, 0.01 to 10 (a third of transaction_timeout)" in message


@pytest.mark.parametrize(
    "value", [True, None, [], {}, object(), float("nan"), 10**400, 10**5000, "x"], ids=lambda value: type(value).__name__
)
def test_a_value_of_a_wrong_type_in_a_file_is_refused(value: object) -> None:
    assert refusal(lambda: load(APP, {"commit_interval": value}, {})).startswith("STREAMAPP_COMMIT_INTERVAL=")
    assert refusal(lambda: load(APP, {"web_port": value}, {})).startswith("STREAMAPP_WEB_PORT=")


def test_durations_may_be_texts_integers_or_timedeltas() -> None:
    for value in ("1", " 1.0 ", 1, 1.0, timedelta(seconds=1), "1e0", "+1", "1."):
        assert load({**APP, "commit_interval": value}, {}, {}).transaction.commit_interval == 1


def test_none_in_words_is_no_limit_where_there_may_be_none() -> None:
    assert from_environment(commit_every="none").transaction.commit_every is None
    assert from_environment(commit_every="5").transaction.commit_every == 5
    assert from_environment(worker_id="none").identity.worker_id == "none"


@pytest.mark.parametrize(("text", "truth"), [("true", True), ("YES", True), ("1", True), ("off", False), (" 0 ", False)])
def test_truth_has_several_spellings(text: str, truth: bool) -> None:
    assert from_environment(breaker_enabled=text).breaker.breaker_enabled is truth
    assert "must be true or false" in refusal(lambda: from_environment(breaker_enabled="maybe"))


def test_an_enum_counts_as_its_value() -> None:
    class Guarantee(Enum):
        ALO = "at_least_once"

    assert not load({**APP, "processing_guarantee": Guarantee.ALO}, {}, {}).transaction.exactly_once
    assert "exactly_once or at_least_once" in refusal(lambda: from_environment(processing_guarantee="at_most_once"))
    assert refusal(lambda: load({**APP, "processing_guarantee": 5}, {}, {}))
    assert refusal(lambda: load({**APP, "sasl_mechanism": 5}, {}, {}))


@pytest.mark.parametrize(
    ("given_broker", "normal"),
    [
        ("h", "h:9092"),
        ("h:1,i:65535", "h:1,i:65535"),
        ("kafka://h:1", "h:1"),
        ("kafka://h:1;kafka://i:2", "h:1,i:2"),
        ("confluent://h/", "h:9092"),
        (["kafka://h:1", "i"], "h:1,i:9092"),
        ("[::1]:1", "[::1]:1"),
        (" h:1 , i:2 ", "h:1,i:2"),
    ],
)
def test_brokers_in_every_form_that_faust_knows(given_broker: object, normal: str) -> None:
    assert load({**APP, "broker": given_broker}, {}, {}).broker.broker == normal


@pytest.mark.parametrize(
    "broker", ["", ",", "h:0", "h:65536", "h:x", "memory://", "redis://h:1", "h h", "kafka://u:pw@h:1", "h:1/x"]
)
def test_what_is_no_broker_is_refused_without_its_password(broker: str) -> None:
    message = refusal(lambda: from_environment(broker=broker))
    assert message.startswith("STREAMAPP_BROKER=")
    assert "host:port" in message
    assert "pw" not in message


@pytest.mark.parametrize("worker_id", ["", "a b", "ä", "a/b", "x" * 101, "a\n"])
def test_a_worker_id_is_made_of_plain_characters(worker_id: str) -> None:
    if worker_id == "a\n":  # surrounding white space is dropped
        assert from_environment(worker_id=worker_id).identity.worker_id == "a"
        return
    assert "1 to 100 of A-Z a-z 0-9 . _ -" in refusal(lambda: from_environment(worker_id=worker_id))


def test_the_data_directory_follows_app_and_worker() -> None:
    assert load(APP, {}, {}).identity.directory == Path(".streamapp/shop/default")
    assert from_environment(worker_id="w1").identity.directory == Path(".streamapp/shop/w1")
    assert from_environment(worker_id="..").identity.directory == Path(".streamapp/shop/%2E%2E"), "no way out of the folder"
    assert from_environment(data_dir="/x/y", worker_id="w1").identity.directory == Path("/x/y")
    assert refusal(lambda: from_environment(data_dir="")).startswith("STREAMAPP_DATA_DIR=")


def test_a_list_may_be_text_or_list() -> None:
    urls = ("http://a:1", "http://b:2")
    assert from_environment(web_peers="http://a:1, http://b:2,").web.web_peers == urls
    assert load({**APP, "web_peers": list(urls)}, {}, {}).web.web_peers == urls
    assert "comma-separated" in refusal(lambda: load({**APP, "web_peers": [1]}, {}, {}))
    assert refusal(lambda: from_environment(web_peers="a:1"))


def test_a_service_link_of_kubernetes_is_recognised() -> None:
    message = refusal(lambda: from_environment(web_port="tcp://10.0.0.1:80"))
    assert "enableServiceLinks" in message


def test_no_replicas_at_all_is_refused() -> None:
    assert from_environment(topic_replication_factor="-1").topics.topic_replication_factor == -1
    assert refusal(lambda: from_environment(topic_replication_factor="0")).startswith("STREAMAPP_TOPIC_REPLICATION_FACTOR=0")


def test_the_process_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMAPP_COMMIT_INTERVAL", "1")
    before = process_environment()
    monkeypatch.setenv("STREAMAPP_COMMIT_INTERVAL", "2")
    assert load(APP, {}, before).transaction.commit_interval == 1


# -- relations


def test_retry_limits_that_nobody_set_shrink_with_one_line() -> None:
    settings = from_environment(transaction_timeout="10")
    assert (settings.retry.retry_budget, settings.retry.retry_attempt_timeout, settings.retry.retry_cap) == (5, 5, 5)
    (notice,) = settings.notices
    assert "retry_budget 15 -> 5 s" in notice
    assert "half of STREAMAPP_TRANSACTION_TIMEOUT (10 s)" in notice
    assert settings.origin["retry_budget"] == "default"


def test_retry_limits_follow_the_poll_interval_where_that_is_shorter() -> None:
    settings = from_environment(session_timeout="10", max_poll_interval="10")
    assert settings.retry.retry_budget == 5
    assert "STREAMAPP_MAX_POLL_INTERVAL" in settings.notices[0]


def test_a_retry_limit_that_somebody_set_outside_is_refused_with_the_sum() -> None:
    assert refusal(lambda: from_environment(retry_budget="40")) == (
        "STREAMAPP_RETRY_BUDGET=40: retry budget 40 s exceeds 15 s = half of STREAMAPP_TRANSACTION_TIMEOUT (30 s)"
    )
    assert "retry attempt timeout 16 s exceeds 15 s" in refusal(lambda: from_environment(retry_attempt_timeout="16"))


def test_an_agents_own_retry_limit_is_refused_with_its_name() -> None:
    settings = load(APP, {}, {})
    settings.require_retry_limit("budget", 15, agent="order_processor")
    assert refusal(lambda: settings.require_retry_limit("budget", 40, agent="order_processor")) == (
        "retry budget 40 s of agent order_processor exceeds 15 s = half of STREAMAPP_TRANSACTION_TIMEOUT (30 s)"
    )


def test_what_depends_on_a_lowered_number_and_was_not_set_follows_it() -> None:
    assert from_environment(retry_attempts="1").retry.retry_unknown_attempts == 1
    assert from_environment(breaker_last="10").breaker.breaker_minimum == 10
    assert from_environment(retry_budget="2").retry.retry_cap == 2
    assert refusal(lambda: from_environment(retry_cap="16")).startswith("STREAMAPP_RETRY_CAP=16: must be more than 0, at most 15")


def test_a_long_session_takes_the_poll_interval_along() -> None:
    settings = from_environment(session_timeout="1800")
    assert settings.group.max_poll_interval == 1800
    assert "max_poll_interval grew" in settings.notices[0]
    assert "must be 45 to 86400" in refusal(lambda: from_environment(max_poll_interval="44"))
    assert "1 to 1800" in refusal(lambda: from_environment(session_timeout="1801"))


def test_the_heartbeat_is_a_third_of_a_short_session() -> None:
    assert load(APP, {}, {}).group.heartbeat == 3
    assert from_environment(session_timeout="6").group.heartbeat == 2
    assert from_environment(heartbeat_interval="1").group.heartbeat == 1
    assert "a third of session_timeout" in refusal(lambda: from_environment(heartbeat_interval="16"))


@pytest.mark.parametrize("name", ["session_timeout", "heartbeat_interval"])
def test_the_session_is_the_brokers_in_the_new_protocol(name: str) -> None:
    assert from_environment(group_protocol="CONSUMER").group.group_protocol == "consumer"
    assert "group_protocol" in refusal(lambda: from_environment(group_protocol="consumer", **{name: "10"}))


def test_linger_stays_well_inside_the_transaction() -> None:
    assert "0 to 7.5 (a quarter of transaction_timeout)" in refusal(lambda: from_environment(producer_linger="8"))


# -- security, secrets, raw options


def test_secrets_do_not_show(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    settings = from_environment(
        security_protocol="sasl_ssl", sasl_mechanism="plain", sasl_username="u", sasl_password_file=str(file), web_token="hunter3"
    )
    assert settings.broker.sasl_password == Secret("hunter2")
    assert settings.broker.sasl_password is not None
    assert settings.broker.sasl_password.reveal() == "hunter2"
    assert settings.web.web_token != "hunter3"
    assert "hunter" not in f"{settings!r} {values(settings)}"
    assert len({settings.web.web_token, Secret("hunter3")}) == 1


def test_a_secret_and_its_file_must_agree_and_neither_shows(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hunter2")
    message = refusal(lambda: from_environment(web_token="hunter3", web_token_file=str(file)))
    assert "STREAMAPP_WEB_TOKEN_FILE" in message
    assert "hunter" not in message


def test_a_secret_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path in (str(tmp_path / "none"), str(tmp_path), "\0", str(binary)):
        assert refusal(partial(from_environment, web_token_file=path)).startswith("STREAMAPP_WEB_TOKEN_FILE=")
    assert "***" in refusal(lambda: from_environment(web_token=""))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"security_protocol": "tls"}, "SECURITY_PROTOCOL"),
        ({"security_protocol": "sasl_ssl"}, "SECURITY_PROTOCOL"),
        ({"sasl_mechanism": "PLAIN"}, "SASL_MECHANISM"),
        ({"sasl_username": "u"}, "SASL_USERNAME"),
        ({"sasl_password": "hunter2"}, "SASL_PASSWORD"),
        ({"security_protocol": "sasl_plaintext", "sasl_mechanism": "SCRAM-SHA-512"}, "SASL_MECHANISM"),
        ({"security_protocol": "sasl_plaintext", "sasl_mechanism": "GSSAPI"}, "SASL_MECHANISM"),
        ({"ssl_ca_location": "/does/not/exist"}, "SSL_CA_LOCATION"),
    ],
)
def test_security_is_whole_or_refused(variables: dict[str, str], named: str) -> None:
    message = refusal(lambda: from_environment(**variables))
    assert message.startswith(f"STREAMAPP_{named}=")
    assert "hunter2" not in message


def test_tokens_need_no_password_and_authorities_may_be_probed() -> None:
    settings = from_environment(security_protocol="SASL_SSL", sasl_mechanism="oauthbearer", ssl_ca_location="probe")
    assert settings.broker.sasl_mechanism == "OAUTHBEARER"


@pytest.mark.parametrize("option", sorted(OWNED_OPTIONS))
@pytest.mark.parametrize("room", ["broker_options", "consumer_options", "producer_options"])
def test_an_option_of_the_engine_is_refused_by_name(option: str, room: str) -> None:
    message = refusal(lambda: load({**APP, room: {option: "x"}}, {}, {}))
    assert message.startswith(variable(room))
    assert f"must not set {option}" in message


def test_raw_options_may_be_a_mapping_json_or_pairs() -> None:
    expected = {"fetch.min.bytes": "1", "check.crcs": "true", "x.y": "0.5"}
    mapping = {"fetch.min.bytes": 1, "check.crcs": True, "x.y": 0.5}
    options = load({**APP, "consumer_options": mapping}, {}, {}).broker.consumer_options
    assert dict(options) == expected
    assert load({**APP, "consumer_options": options}, {}, {}).broker.consumer_options is options
    text = '{"fetch.min.bytes": 1, "check.crcs": true, "x.y": 0.5}'
    assert dict(from_environment(consumer_options=text).broker.consumer_options) == expected
    pairs = "fetch.min.bytes=1, check.crcs = true,x.y=0.5,"
    assert dict(from_environment(consumer_options=pairs).broker.consumer_options) == expected
    assert len(options) == 3


@pytest.mark.parametrize("text", ["{", "x", "=1", '{"a": [1]}', '{"a": NaN}', '{"a": null}', '{"a":' * 20_000])
def test_raw_options_that_are_none_are_refused(text: str) -> None:
    assert refusal(lambda: from_environment(producer_options=text)).startswith("STREAMAPP_PRODUCER_OPTIONS=")


def test_raw_options_with_secrets_do_not_show() -> None:
    options = from_environment(broker_options="sasl.oauthbearer.client.secret=hunter2,client.rack=a").broker.broker_options
    assert "hunter2" not in repr(options)
    assert "client.rack" in repr(options)


# -- whatever comes


def attempt(code: dict[str, object], file: dict[str, object], environ: dict[str, str]) -> Settings | str:
    """Return the settings or the refusal; any other exception is the test's failure."""
    try:
        return load(code, file, environ)
    except ConfigurationError as error:
        return str(error)


@given(name=st.sampled_from(names()), text=st.text(max_size=30))
def test_any_text_in_any_variable_gives_settings_or_a_refusal_that_names_it(name: str, text: str) -> None:
    outcome = attempt({}, {}, {"STREAMAPP_APP_ID": "shop", variable(name): text})
    if isinstance(outcome, str):
        assert outcome.startswith(f"{variable(name)}=")
        assert outcome.isprintable()
    else:
        assert outcome.origin[name] == "environment"


NUMBERS = st.floats(allow_nan=False, min_value=-10, max_value=100_000).map(lambda number: f"{number:g}")


@given(st.dictionaries(st.sampled_from(names()), NUMBERS, max_size=6))
def test_any_numbers_together_give_settings_or_a_refusal_that_names_one_of_them(numbers: dict[str, str]) -> None:
    environ = {variable(name): text for name, text in numbers.items()}
    outcome = attempt({**APP}, {}, environ)
    assert isinstance(outcome, Settings) or any(outcome.startswith(f"{name}=") for name in environ)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(names()) | st.text(max_size=10), JSON, max_size=3), st.booleans())
def test_any_table_gives_settings_or_a_refusal(table: dict[str, object], in_code: bool) -> None:
    outcome = attempt(APP | table, {}, {}) if in_code else attempt({**APP}, table, {})
    assert isinstance(outcome, Settings) or outcome.isprintable()


@given(st.dictionaries(st.text(max_size=10).map(lambda text: f"STREAMAPP_{text}"), st.text(max_size=5), max_size=3))
def test_any_unknown_variable_only_tells(environ: dict[str, str]) -> None:
    outcome = attempt({**APP}, {}, environ)
    assert isinstance(outcome, Settings) or any(outcome.startswith(f"{name}=") for name in environ)


def test_all_field_names_are_distinct() -> None:
    assert len(names()) == len(set(names()))
    assert {field.name for field in fields(Settings)} >= {"identity", "broker", "transaction", "group"}
