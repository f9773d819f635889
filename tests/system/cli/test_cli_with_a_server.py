"""The commands of a stranger's first hour, typed at a real server."""

import shlex
import socket

from system.processes import PASSWORD, eventually


def test_from_login_to_a_trained_model(alice, people):
    assert "version 0" in alice.done("models", "create", "--file", "net.safetensors")
    for name in ("anna", "bert"):
        machine = people(name)
        _hansa, *enroll = shlex.split(alice.done("clients", "invite", name))
        _hansa, *run = shlex.split(machine.done(*enroll))
        machine.begin(*run)
    alice.done("trainings", "create", "--model", "net", "--clients", "bert,anna", "--rounds", "3", "--name", "first")
    alice.done("trainings", "start", "first")
    lines = alice.done("trainings", "watch", "first").splitlines()
    assert lines[-1] == "training completed: all 3 rounds are done"
    assert any(line.startswith("round 2 done: 2/2 clients, loss 0.5000, accuracy 0.7500") for line in lines)

    shown = alice.json("trainings", "show", "first")
    assert [client["username"] for client in shown["training"]["clients"]] == ["bert", "anna"]
    assert [each["state"] for each in shown["rounds"]] == ["done"] * 3
    assert "anna" in alice.done("trainings", "show", "first", "--round", "3")
    assert [version["number"] for version in alice.json("models", "versions", "net")] == [0, 1, 2, 3]
    alice.done("models", "download", "net", "-o", "got.safetensors")
    alice.done("models", "download", "net", "0", "-o", "zero.safetensors")
    assert (alice.folder / "got.safetensors").read_bytes() != (alice.folder / "zero.safetensors").read_bytes()

    for listed in ("models", "trainings", "clients", "tokens"):
        assert alice.json(listed, "list")
    refused = alice.hansa("trainings", "start", "first")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "completed" in refused.stderr
    assert alice.hansa("models", "delete", "net", "--yes").returncode == 0


def test_watching_goes_on_over_a_restart_of_the_server(alice, enrolled, people, server):
    alice.done("models", "create", "--file", "net.safetensors", "--name", "restarted")
    machine = people("clara")
    command = enrolled(machine, "clara")
    alice.done("trainings", "create", "--model", "restarted", "--clients", "clara", "--rounds", "2", "--name", "second")
    alice.done("trainings", "start", "second")
    watching = alice.begin("trainings", "watch", "second")
    assert watching.stdout.readline().startswith("training ongoing")
    server.kill()
    assert "Trying again." in watching.stdout.readline()
    server.start()
    assert watching.stdout.readline() == "the server answers again\n"
    machine.begin(*command)
    assert watching.wait(60) == 0
    assert watching.stdout.read().splitlines()[-1] == "training completed: all 2 rounds are done"


def test_a_token_that_was_revoked_ends_commands_and_clients_alike(alice, enrolled, people, server):
    machine = people("dora")
    command = enrolled(machine, "dora")
    token_file = command[command.index("--token-file") + 1]
    dora = ("--server", server.url, "--token-file", token_file)
    [token] = machine.json("tokens", "list", *dora)
    machine.done("tokens", "revoke", token["id"], *dora)
    assert machine.hansa("models", "list", *dora).returncode == 4
    client = machine.begin(*command)
    assert client.wait(60) == 4
    alice.done("logout")
    after = alice.hansa("models", "list")
    assert (after.returncode, after.stdout) == (2, "")


def test_a_code_is_good_for_one_machine(alice, people):
    line = shlex.split(alice.done("clients", "invite", "emil"))[1:]
    first, second = people("first"), people("second")
    assert first.hansa(*line).returncode == 0
    again = second.hansa(*line)
    assert again.returncode == 1
    assert "code" in again.stderr
    assert list(second.folder.rglob("*.token")) == []


def test_a_wrong_password_and_a_client_that_is_no_actor_are_not_allowed(alice, enrolled, people, server):
    wrong = alice.hansa("login", "--server", server.url, "-u", "root", typed="not " + PASSWORD)
    assert wrong.returncode == 4
    machine = people("frieda")
    command = enrolled(machine, "frieda")
    token_file = command[command.index("--token-file") + 1]
    refused = machine.hansa("clients", "invite", "mallory", "--server", server.url, "--token-file", token_file)
    assert refused.returncode == 4
    assert "Traceback" not in refused.stderr


def test_a_server_that_is_not_there_is_said_in_one_line(people):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening: nobody else can be there
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        ran = people("alice").hansa("models", "list", "--server", url, HANSA_TOKEN="0" * 40)
    assert ran.returncode == 3
    assert len(ran.stderr.splitlines()) == 1
    assert "Is the server running" in ran.stderr


def test_a_client_that_is_stopped_ends_in_order(api, enrolled, people):
    machine = people("gustav")
    client = machine.begin(*enrolled(machine, "gustav"))

    def seen():
        return next(each.last_seen for each in api.clients() if each.username == "gustav")

    eventually(seen, "the client asks for work")
    client.terminate()
    assert client.wait(60) == 0
