"""The client's loop against a server that misbehaves: what it does, and what it does not do twice."""

import numpy as np
import pytest
from running import AddOne
from scripted_server import TOKEN, cut, cut_download, cut_upload, lose_answer, page, status, updates

from hansa.client import ApiError, Client, CredentialsRefused, StateFolderBusy, TrainResult, UsageError, patience
from hansa.client.events import Dropped, Reconnecting, Reported, Waiting
from hansa.client.journal import Journal
from hansa.formats.safetensors import read
from hansa.protocol import PROTOCOL_VERSION
from hansa.protocol.tasks import TaskKind


def test_a_task_is_trained_uploaded_and_reported(server, start, tmp_path):
    trainer = AddOne()
    server.offer()
    start(trainer).until(Reported)

    (report,) = server.reports
    assert report["num_examples"] == 10
    assert report["metrics"] == {"loss": 0.5}
    assert report["seconds"] >= 0
    (tmp_path / "update").write_bytes(server.partial[report["digest"]])
    sent = read(tmp_path / "update")
    assert np.array_equal(sent["w"], [1, 2, 3, 4])
    assert sent["seen"] == 3
    config = trainer.configs[0]
    assert (config.client_lr, config.seed, config.extra) == (0.5, 7, {"colour": "blue"})


def test_an_evaluation_is_reported_without_an_upload(server, start):
    server.offer(kind=TaskKind.EVALUATE)
    start().until(Reported)
    assert server.reports[0]["metrics"] == {"loss": 6.0}
    assert server.reports[0]["digest"] is None
    assert not updates(server)


def test_the_next_task_follows_and_its_model_is_not_downloaded_twice(server, start):
    server.offer(number=1)
    client = start()
    client.until(Reported)
    server.offer(number=2)
    client.until(Reported, times=2)
    assert len([request for request in server.requests if "/params/" in request]) == 1


def test_a_small_update_is_sent_at_once_and_a_large_one_after_asking(server, large_server, start, tmp_path):
    for number, one in enumerate((server, large_server)):
        one.offer()
        start(at=one, state=tmp_path / str(number)).until(Reported)
    assert not [request for request in server.requests if request.startswith("HEAD")]
    asked = [request.split()[0] for request in large_server.requests if "/update/" in request]
    assert asked == ["HEAD", "PUT"]


@pytest.mark.parametrize("fault", [cut, status(500), status(502), status(503), status(429), status(408)])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/next/"), ("GET", "/params/"), ("PUT", "/update/"), ("POST", "/report/")]
)
def test_whatever_fails_is_tried_again(server, start, method, path, fault):
    trainer = AddOne()
    server.fail_once(method, path, fault)
    server.offer()
    client = start(trainer)
    client.until(Reported)
    assert trainer.trained == 1
    assert len(server.reports) == 1
    assert client.of(Reconnecting)


@pytest.mark.parametrize("number", [403, 404, 413])
@pytest.mark.parametrize(("method", "path"), [("GET", "/params/"), ("PUT", "/update/"), ("POST", "/report/")])
def test_a_proxys_page_says_nothing_of_the_task_and_is_waited_out(server, start, method, path, number):
    """It stands in front of a server that restarts, or has a limit of its own; no result is thrown away for it."""
    server.fail_once(method, path, page(number))
    server.offer()
    client = start()
    client.until(Reported)
    assert len(server.reports) == 1
    assert client.of(Reconnecting)
    assert not server.releases


def test_a_download_cut_in_mid_body_goes_on(large_server, start):
    large_server.fail_once("GET", "/params/", cut_download(after=1_000_000))
    large_server.offer()
    start(at=large_server).until(Reported)
    assert len(large_server.reports) == 1


def test_an_upload_cut_in_mid_body_goes_on_from_what_the_server_holds(large_server, start):
    begins = []
    large_server.fail_once("PUT", "/update/", cut_upload(after=1_000_000))
    large_server.fail_once("PUT", "/update/", lambda handler: begins.append(handler.headers["Upload-Offset"]))
    large_server.offer()
    start(at=large_server).until(Reported)
    assert begins == ["1000000"]


def test_a_lost_answer_to_a_report_does_not_make_a_second_one(server, start):
    server.fail_once("POST", "/report/", lose_answer)
    server.offer()
    client = start()
    client.until(Reported)
    assert len(server.reports) == 1
    assert len([request for request in server.requests if request.endswith("/report/")]) == 2


def test_a_lost_answer_to_a_report_is_no_dropped_task_though_a_heartbeat_finds_it_reported(server, start):
    def report_and_lose_the_answer(handler):
        handler.server.cancelled = "the task is reported"
        return lose_answer(handler)

    def away_until_a_heartbeat(handler):
        return False if handler.server.heartbeats else status(503)(handler)

    server.fail_once("POST", "/report/", report_and_lose_the_answer)
    for _ in range(20):
        server.fail_once("POST", "/report/", away_until_a_heartbeat)
    server.offer(lease_seconds=0.03)
    client = start()
    client.until(Reported)
    assert server.heartbeats
    assert not client.of(Dropped)
    assert len(server.reports) == 1


def test_a_server_that_lost_the_update_gets_it_again(server, start):
    trainer = AddOne()

    def forget(handler):
        handler.server.partial.clear()

    server.fail_once("POST", "/report/", forget)
    server.offer()
    start(trainer).until(Reported)
    assert trainer.trained == 1
    assert len(updates(server)) == 2


def test_bytes_damaged_on_the_way_are_sent_again(server, start):
    def damage(handler):
        handler.read_body()
        handler.reply(409, {"detail": "not these bytes", "code": "digest_mismatch"})
        return True

    trainer = AddOne()
    server.fail_once("PUT", "/update/", damage)
    server.offer()
    start(trainer).until(Reported)
    assert trainer.trained == 1


def test_an_update_damaged_on_the_own_disk_is_computed_again(server, start, tmp_path):
    def damage(handler):
        with Journal(tmp_path / "state", server.owner).update("train-1").open("r+b") as update:
            update.write(b"x")
        handler.read_body()
        handler.reply(409, {"detail": "not these bytes", "code": "digest_mismatch"})
        return True

    trainer = AddOne()
    server.fail_once("PUT", "/update/", damage)
    server.offer()
    client = start(trainer)
    client.until(Reported)
    assert trainer.trained == 2
    assert "computed again" in client.of(Dropped)[0].reason


def test_a_full_disk_at_the_server_is_waited_out_slowly(server, start, monkeypatch):
    monkeypatch.setattr(patience, "FULL_DISK_SECONDS", 0.25)
    server.fail_once("PUT", "/update/", status(507, "insufficient_storage"))
    server.offer()
    client = start()
    client.until(Reported)
    assert client.of(Reconnecting)[0].seconds >= 0.25


@pytest.mark.parametrize("code", ["round_closed", "task_closed", "digest_conflict"])
@pytest.mark.parametrize(("method", "path"), [("PUT", "/update/"), ("POST", "/report/")])
def test_a_closed_round_drops_the_task_and_the_client_goes_on(server, start, method, path, code):
    def close(handler):
        handler.server.close_task("train-1")
        return status(409, code, "it is over")(handler)

    server.fail_once(method, path, close)
    server.offer(number=1)
    client = start()
    assert client.until(Dropped).reason == "it is over"
    server.offer(number=2)
    client.until(Reported)
    assert [report["task"] for report in server.reports] == ["train-2"]
    assert not server.releases


@pytest.mark.parametrize("code", ["spec_mismatch", "not_finite", "bad_model_file"])
def test_an_update_that_the_server_refuses_gives_the_task_back_as_failed(server, start, code):
    server.fail_once("PUT", "/update/", status(400, code, "not this model"))
    server.offer()
    client = start()
    assert client.until(Dropped).failed
    client.until(Waiting, times=2)
    assert server.releases == [{"task": "train-1", "reason": "the server refused it: not this model", "failed": True}]


class Failing(AddOne):
    def train(self, params, config):
        super().train(params, config)
        raise TypeError("no\nnumbers " + "x" * 600)


def test_a_trainer_that_fails_gives_the_task_back_in_one_line_and_the_traceback_stays_here(server, start, caplog):
    server.offer(number=1)
    client = start(Failing())
    client.until(Waiting, times=2)
    (release,) = server.releases
    assert release["failed"] is True
    assert release["reason"].startswith("TypeError: no numbers xxx")
    assert len(release["reason"]) == 500
    assert "Traceback" not in release["reason"]
    assert "Traceback" in caplog.text
    server.offer(number=2)
    client.until(Dropped, times=2)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (None, "ResultError: train returned None"),
        (TrainResult({"w": np.ones(4, np.float32)}, 1), "ResultError: params lacks 'seen'"),
        (
            TrainResult({"w": np.full(4, np.nan, np.float32), "seen": np.array(1)}, 1),
            "ResultError: params['w'] holds nan",
        ),
    ],
)
def test_a_wrong_result_is_not_sent(server, start, result, reason):
    class Wrong(AddOne):
        def train(self, params, config):
            return result

    server.offer()
    client = start(Wrong())
    client.until(Waiting, times=2)
    assert server.releases[0]["reason"].startswith(reason)
    assert not updates(server)


def test_a_trainer_that_cannot_evaluate_fails_its_evaluations_only(server, start):
    class NoEvaluation:
        train = AddOne().train

    server.offer(kind=TaskKind.EVALUATE)
    client = start(NoEvaluation())
    client.until(Waiting, times=2)
    assert "no attribute 'evaluate'" in server.releases[0]["reason"]
    server.offer()
    client.until(Reported)


def test_a_token_that_is_not_known_ends_the_run(server, start):
    client = start(token="f" * 40).join()
    assert isinstance(client.error, CredentialsRefused)
    assert "no such token" in client.events[-1].reason


def test_a_url_that_is_not_a_hansa_servers_is_told_at_once(server, start):
    server.fail_once("POST", "/next/", status(404, "not_found"))
    assert isinstance(start().join().error, ApiError)


def test_a_server_that_once_answered_may_be_anything_for_a_while(server, start):
    server.offer(number=1)
    client = start()
    client.until(Reported)
    server.fail_once("POST", "/next/", status(404, "not_found"))
    server.fail_once("POST", "/next/", status(403, "permission_denied"))
    assert server.parked.wait(10)
    server.offer(number=2)
    server.offer(number=3)
    client.until(Reported, times=3)


def test_a_newer_protocol_ends_the_run_with_what_to_do(server, start):
    server.offer(protocol=PROTOCOL_VERSION + 1)
    client = start().join()
    assert isinstance(client.error, UsageError)
    assert "Install a newer hansa" in str(client.error)


def test_two_clients_cannot_share_a_state_folder(server, start):
    first = start()
    first.until(Waiting)
    assert isinstance(start().join().error, StateFolderBusy)


def test_what_is_no_trainer_is_told_before_anything_is_asked(server, tmp_path):
    with pytest.raises(UsageError, match="without a method `train`"):
        Client(server.url, "0" * 40, state=tmp_path).run(object())
    assert server.requests == []


def test_a_task_that_is_offered_again_and_again_though_it_cannot_be_done_is_not_tried_in_a_tight_circle(server, start):
    for _ in range(5):
        server.fail_once("GET", "/params/", status(404, "not_found", "no such version"))
    server.offer()
    client = start()
    client.until(Reported)
    assert len(client.of(Dropped)) == 5


def test_the_token_is_not_written_to_the_state_folder(server, start, tmp_path):
    server.offer()
    start().until(Reported)
    for file in (tmp_path / "state").rglob("*"):
        assert file.is_dir() or TOKEN.encode() not in file.read_bytes()


def test_a_client_runs_once(server, tmp_path):
    client = Client(server.url, TOKEN, state=tmp_path, reporter=lambda event: None)
    client.stop()
    client.run(AddOne())
    with pytest.raises(UsageError, match="Make another one"):
        client.run(AddOne())


def test_a_server_that_asks_for_too_long_a_peace_is_asked_once_a_minute(server, start):
    server.fail_once("POST", "/next/", status(429, "throttled", Retry_After="86400"))
    assert 60 <= start().until(Reconnecting).seconds <= 60.1
