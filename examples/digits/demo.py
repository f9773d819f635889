"""A federated training on one machine, for real: a server, five clients in processes of their own, a live table.

Each client has its own images of handwritten digits, dealt unevenly, and shares none of them. After the last round
the model is tested on images that no client has seen. `make demo` runs this; `--help` lists what can be chosen.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import numpy as np
import torch
from data import Digits, deal, hold_out, load_all, save
from federation import (
    ACTOR,
    DemoError,
    Site,
    free_port,
    images_of,
    sign_in,
    start_clients,
    start_server,
    wait_for_clients,
)
from model import model
from processes import ChildEndedError, Children
from rich.console import Console

from hansa.cli.watching import watch
from hansa.client.adapters.torch import params_of
from hansa.client.api import Api
from hansa.client.errors import HansaError
from hansa.formats import safetensors
from hansa.protocol.trainings import Training, TrainingCreate
from hansa.rounds.states import TrainingStatus

CLIENTS = ("client-1", "client-2", "client-3", "client-4", "client-5")
GOAL = 0.96


@dataclass(frozen=True)
class Options:
    port: int
    rounds: int
    seed: int
    exit: bool


class Story:
    """What the demo does, told line by line with the seconds since it began."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        self.console.print(f"{time.monotonic() - self._began:5.1f} s  {text}", markup=False, soft_wrap=True)


def main() -> int:
    options = parse(sys.argv[1:])
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup asks for
        signal.signal(signal.SIGHUP, interrupt)
    story = Story()
    try:
        port = free_port(options.port)
    except DemoError as error:
        story.tell(f"The demo did not start: {error}")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="hansa-demo-"))
    try:
        reached = demo(options, Site.prepared(folder, port), story)
    except KeyboardInterrupt:
        story.tell("Stopped before the end. Every process of the demo has ended.")
        reached = False
    except (DemoError, ChildEndedError, HansaError) as error:
        story.tell(f"The demo failed: {error}\nAll logs: {folder / 'logs'}")
        return 1
    shutil.rmtree(folder)
    return 0 if reached else 1


def demo(options: Options, site: Site, story: Story) -> bool:
    """From an empty folder to a tested model. True if it reached the goal."""
    with Children(site.logs) as children:
        held_out = deal_images(site, options.seed)
        story.tell(f"Dealt the images to {len(CLIENTS)} clients and held {len(held_out)} back for the test.")
        start_server(children, site)
        api = sign_in(site)
        story.tell(f"Started the server at {site.url} with its data in {site.folder}.")
        story.tell(f"See it in a browser: {site.url}/ (user {ACTOR}, password {site.password})")
        start_clients(children, site, api, CLIENTS)
        wait_for_clients(api, CLIENTS)
        story.tell(f"Started {len(CLIENTS)} clients: each has its own process, images and token.")
        training = train(api, site.folder, options, story)
        reached = test(api, training, site.folder, held_out, story)
        if not options.exit:
            serve(site, story)
    return reached


def deal_images(site: Site, seed: int) -> Digits:
    """A file for every client; what is held out stays here."""
    rng = np.random.default_rng(seed)
    dealt, held_out = hold_out(load_all(), share=0.2, rng=rng)
    for name, images in zip(CLIENTS, deal(dealt, clients=len(CLIENTS), alpha=0.5, rng=rng), strict=True):
        save(images, images_of(site, name))
    return held_out


def train(api: Api, folder: Path, options: Options, story: Story) -> Training:
    """FedAvg from a fresh model to the last version, shown while it happens."""
    torch.manual_seed(options.seed)
    params, buffers = params_of(model())
    file = folder / "model.safetensors"
    with file.open("wb") as output:
        safetensors.write(output, params, buffers)
    created = api.create_training(
        TrainingCreate(
            name="digits",
            model_id=api.create_model(file, name="digits").model_id,
            clients=list(CLIENTS),
            plan={
                "rounds": options.rounds,
                "client": {"epochs": 3, "client_lr": 0.05, "momentum": 0.9},
                "seed": options.seed,
            },
        )
    )
    api.start(created.training_id)
    story.tell(f"Started the training: {options.rounds} rounds of FedAvg.")
    story.tell(f"See it while it trains: {api.transport.url}/trainings/{created.training_id}/\n")
    training = watch(api, created.training_id, console=story.console)
    if training.status != TrainingStatus.COMPLETED:
        raise DemoError(f"the training is {training.status}: {training.reason}")
    return training


def test(api: Api, training: Training, folder: Path, held_out: Digits, story: Story) -> bool:
    """Download the last version and try it on images that no client has."""
    file = folder / "trained.safetensors"
    api.download(training.model, training.version, file)
    trained = model()
    trained.load_state_dict({name: torch.from_numpy(array) for name, array in safetensors.read(file).items()})
    with torch.inference_mode():
        guesses = trained(torch.from_numpy(held_out.images)).argmax(dim=1).numpy()
    right = int((guesses == held_out.labels).sum())
    share = right / len(held_out)
    verdict = "reached" if share >= GOAL else "missed"
    story.console.print()
    story.tell(f"Held-out accuracy {share:.1%}, {right} of {len(held_out)} images. Goal {GOAL:.0%}: {verdict}.")
    return share >= GOAL


def serve(site: Site, story: Story) -> None:
    """Leave the server running for whoever wants to look around."""
    story.tell(
        f"""Look around; the server goes on until Ctrl-C.

    Dashboard      {site.url}/
    API            {site.url}/api/schema/swagger-ui/
    sign in as     {ACTOR}
    password       {site.password}
    logs           {site.logs}
"""
    )
    with suppress(KeyboardInterrupt):
        while True:
            signal.pause()
    story.tell("Ending the clients and the server.")


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="demo.py", description="A federated training on this machine, for real.")
    parser.add_argument("--port", type=int, default=8000, help="of the server, on 127.0.0.1; 0: any free one (8000)")
    parser.add_argument("--rounds", type=int, default=10, help="of FedAvg (10)")
    parser.add_argument("--seed", type=int, default=1, help="decides the split, the first params and the training (1)")
    parser.add_argument(
        "--exit",
        action="store_true",
        help=f"do not go on serving; the exit code is 0 if the model reached {GOAL:.0%}% "
        "on the images held out, else 1",
    )
    return Options(**vars(parser.parse_args(arguments)))


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """However it is asked to end: as Ctrl-C in a foreground program."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
