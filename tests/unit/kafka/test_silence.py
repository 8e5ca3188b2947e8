"""A client that has lost its brokers for good is told from one whose topic is quiet and from one whose broker is away."""

from __future__ import annotations

import socket

from confluent_kafka import KafkaError, KafkaException

from streamapp.kafka.silence import ANSWER, ASK_AFTER, ASK_AGAIN, DEAF_AFTER, Silence, is_reachable


class TurnedClock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Client:
    """Counts what it is asked; answers while `hears`."""

    def __init__(self, *, hears: bool) -> None:
        self.hears = hears
        self.asked = 0

    def list_topics(self, topic: str, /, *, timeout: float) -> object:
        self.asked += 1
        if not self.hears:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return object()


def test_a_client_that_heard_something_is_not_asked() -> None:
    clock, client = TurnedClock(), Client(hears=False)
    silence = Silence(clock)
    for _ in range(20):
        clock.advance(ASK_AFTER / 2)
        silence.heard()
        assert not silence.is_deaf(client, "in")
    assert client.asked == 0


def test_a_quiet_topic_costs_one_question_now_and_then() -> None:
    clock, client = TurnedClock(), Client(hears=True)
    silence = Silence(clock)
    for _ in range(100):
        clock.advance(ASK_AFTER / 4)
        assert not silence.is_deaf(client, "in")
    assert client.asked == 25


def test_a_client_without_an_answer_for_long_is_deaf_and_one_that_is_answered_in_between_is_not() -> None:
    clock, client = TurnedClock(), Client(hears=False)
    silence = Silence(clock)
    clock.advance(ASK_AFTER)
    assert not silence.is_deaf(client, "in")
    clock.advance(ASK_AGAIN / 2)
    assert not silence.is_deaf(client, "in")
    assert client.asked == 1, "asked again at once"
    client.hears = True
    clock.advance(DEAF_AFTER - ASK_AFTER)
    assert not silence.is_deaf(client, "in")
    client.hears = False
    clock.advance(DEAF_AFTER - 0.1)
    assert not silence.is_deaf(client, "in")
    clock.advance(ASK_AGAIN)
    assert silence.is_deaf(client, "in")


def test_a_broker_is_reachable_when_any_of_those_named_takes_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as other:
            nobody = other.getsockname()[1]
        assert is_reachable(f"127.0.0.1:{nobody},SASL_SSL://127.0.0.1:{port}")
        assert not is_reachable(f"127.0.0.1:{nobody}")
    assert is_reachable("a-name-without-a-port"), "what cannot be read is left to a new client"
    assert ANSWER < ASK_AGAIN
