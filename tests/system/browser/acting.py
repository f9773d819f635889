"""What tests before a browser do beside it: clients that work by the API, and axe's look at a page."""

import hashlib
import json
from pathlib import Path

import httpx
import numpy as np
from safetensors.numpy import save

from support.serving import PASSWORD, Serving
from system.browser.conftest import Window

AXE = (Path(__file__).parent / "vendor/axe-core/axe.min.js").read_text()
"""Deque's axe: finds what those who cannot see, or use no mouse, would stumble over."""
SIZES = ({"width": 1280, "height": 900}, {"width": 390, "height": 844})


async def serious_findings(window: Window) -> list[str]:
    """What axe finds on the page, but for what it calls minor or moderate."""
    # In the page's own world no script may come in from outside: that is the policy that is kept here.
    session = await window.page.context.new_cdp_session(window.page)
    await session.send("Runtime.evaluate", {"expression": AXE})
    found = await session.send(
        "Runtime.evaluate",
        {
            "expression": "axe.run(document).then((found) => JSON.stringify(found.violations))",
            "awaitPromise": True,
            "returnByValue": True,
        },
    )
    violations = json.loads(found["result"]["value"])
    return [
        f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}"
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


async def findings_everywhere(window: Window) -> dict[str, list[str]]:
    """What axe finds on the page that is open, in light and dark, on a desk and on a telephone, which it has to fit."""
    found = {}
    for scheme in ("light", "dark"):
        await window.page.emulate_media(color_scheme=scheme)
        for size in SIZES:
            await window.page.set_viewport_size(size)
            found[f"{scheme} {size['width']}"] = await serious_findings(window)
            wide = await window.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= size["width"], f"it is {wide} pixels wide, the screen {size['width']}"
    return {where: each for where, each in found.items() if each}


def begun(actor: httpx.Client, *names: str, model: str = "small", **plan: object) -> tuple[str, list[str]]:
    """A training with clients of these names, of one round if the plan does not say more, and the clients' tokens."""
    tokens = []
    for name in names:
        code = actor.post("/api/clients/invitations/", json={"username": name}).json()["code"]
        tokens.append(actor.post("/api/clients/enroll/", json={"code": code}).json()["token"])
    model_id = stored(actor, model)
    wanted = {"rounds": 1, "evaluation": {"every": 0}, **plan}
    made = actor.post("/api/trainings/", json={"model_id": model_id, "plan": wanted, "clients": list(names)})
    return made.json()["training_id"], tokens


def stored(actor: httpx.Client, name: str) -> str:
    """A model of three params."""
    file = ("m.safetensors", params(0.0))
    model_id: str = actor.post("/api/models/", files={"model_file": file}, data={"name": name}).json()["model_id"]
    return model_id


def params(value: float) -> bytes:
    """The model, or an update of it."""
    return save({"w": np.full(3, value, np.float32)})


def work(client: httpx.Client, value: float = 1.0, metrics: dict[str, float] | None = None) -> None:
    """Everything that a round asks of a client."""
    task = client.post("/api/tasks/next/?wait=10", json={"instance": "one"}).json()
    sent, digest = params(value), hashlib.sha256(params(value)).hexdigest()
    assert client.put(f"/api/tasks/{task['id']}/update/{digest}/", content=sent).status_code == 200
    said = {"digest": digest, "num_examples": 3, "metrics": metrics or {"loss": 0.5}, "seconds": 0.1}
    assert client.post(f"/api/tasks/{task['id']}/report/", json=said).status_code == 200


def token_of(server: Serving) -> str:
    """The administrator's."""
    with server.client() as client:
        token: str = client.post("/api/tokens/", auth=("root", PASSWORD), json={"name": "tests"}).json()["token"]
    return token


async def sign_in(window: Window, username: str = "root", password: str = PASSWORD) -> None:
    """By the form."""
    await window.go("/sign-in/?next=/account/")
    await window.page.get_by_label("User name").fill(username)
    await window.page.get_by_label("Password").fill(password)
    await window.press("Sign in")
