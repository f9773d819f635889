"""Tokens, invitations, registrations and groups, by a caller who repeats what was not answered."""

from crash_supervision import Caller
from crash_world import World

from support.serving import PASSWORD


def keeping_accounts(world: World) -> None:
    """Everything that can be made is made, used and taken away again, however often it was asked for."""
    _tokens(world)
    _enrolling(world)
    _registering(world)
    _groups(world)


def _tokens(world: World) -> None:
    made = Caller(world.server, world.root.post("tokens/", {"name": "laptop"})["token"])
    assert made.get("users/myself/")["username"] == "root"
    for token in world.root.get("tokens/"):
        if token["name"] == "laptop":
            world.root("DELETE", f"tokens/{token['id']}/", done=(404,))
    assert "laptop" not in [token["name"] for token in world.root.get("tokens/")]


def _enrolling(world: World) -> None:
    enrolled: dict[str, str] = {}
    while "token" not in enrolled:  # the answer to the first may be lost, and its code used: a new one is asked for
        code = world.root.post("clients/invitations/", {"username": "dan"})["code"]
        enrolled = Caller(world.server).post("clients/enroll/", {"code": code}, done=(400, 403, 409, 422))
    assert Caller(world.server, enrolled["token"]).get("users/myself/")["username"] == "dan"
    world.root.post("clients/invitations/", {"username": "eve"})
    for invitation in world.root.get("clients/invitations/"):
        world.root("DELETE", f"clients/invitations/{invitation['id']}/", done=(404,))
    assert world.root.get("clients/invitations/") == []


def _registering(world: World) -> None:
    world.root.post("users/", {"username": "dora", "password": PASSWORD, "client": True}, done=(400,))
    dora = Caller(world.server, basic=("dora", PASSWORD))
    assert dora.get("users/myself/")["username"] == "dora"
    assert [token["name"] for token in dora.get("tokens/")] == ["registration"]


def _groups(world: World) -> None:
    world.root.post("groups/", {"name": "wards"}, done=(400,))
    (group,) = world.root.get("users/groups/")
    path = f"groups/{group['id']}/"
    world.root("PUT", path, json={"name": "clinics"})
    assert world.root.get(path)["name"] == "clinics"
    world.root("DELETE", path, done=(404,))
    assert world.root.get("users/groups/") == []
