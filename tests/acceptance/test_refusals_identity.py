"""One directory and one worker id have one live worker: another is refused, or found out, and neither loses or doubles anything."""

from __future__ import annotations

from tests.support.topics import wait_until
from tests.support.word_app import WordApp, said


def words(prefix: str, count: int = 40) -> list[str]:
    return [f"{prefix}-{number % 10}" for number in range(count)]


def test_a_second_worker_on_a_directory_is_refused_and_names_the_first(word_app: WordApp) -> None:
    first = word_app.start("w1")
    word_app.feed(words("before"))
    word_app.wait_until_done()
    second = word_app.run("worker", STREAMAPP_WORKER_ID="w2", STREAMAPP_DATA_DIR=str(first.data_dir))
    assert second.returncode == 2
    (line,) = said(second.stderr)
    for part in (str(first.data_dir), f"process id {first.pid}", "STREAMAPP_DATA_DIR"):
        assert part in line
    word_app.feed(words("after"))
    word_app.wait_until_done()
    assert first.stop() == 0


def test_two_live_workers_of_one_id_are_found_out_and_nothing_is_lost_or_doubled(word_app: WordApp) -> None:
    one = word_app.start("one", STREAMAPP_WORKER_ID="same")
    word_app.feed(words("alone"))
    word_app.wait_until_done()
    other = word_app.start("other", STREAMAPP_WORKER_ID="same")
    fed = 0

    def one_gave_up() -> bool:
        nonlocal fed
        fed += 1
        word_app.feed(words(f"both-{fed}", 10), create=False)
        return not (one.alive and other.alive)

    wait_until(one_gave_up, deadline=60, every=0.2, why=lambda: f"both live on\n{word_app.workers.tails()}")
    loser, winner = (one, other) if not one.alive else (other, one)
    assert loser.exit_code == 1
    (line,) = said(loser.log_text())
    for part in (f"{word_app.app_id}-same", "another live worker has this worker id", "STREAMAPP_WORKER_ID"):
        assert part in line
    word_app.feed(words("after"))
    word_app.wait_until_done()
    assert winner.alive
    assert winner.stop() == 0
