"""`hansa init`: a folder to start from. What it writes lies in `scaffold/`, each file with `.txt` after its name."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from hansa.cli import output
from hansa.cli.exits import CommandError
from hansa.client.plaintext import clean

FILES = ("model.py", "data.py", "trainer.py", "README.md")


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that does not exist yet, or is empty.")],
) -> None:
    """Write a folder to start from.

    A trainer, a model, data, and how to go on.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if there := sorted(each.name for each in folder.iterdir()):
            raise CommandError(
                f"{folder} is not empty (it holds {clean(there[0])!r}), and nothing in it is overwritten. "
                "Name another folder."
            )
        for name in FILES:
            content = (files("hansa.cli") / "scaffold" / f"{name}.txt").read_text(encoding="utf-8")
            (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror}.") from error
    output.say(
        f"{folder} holds {', '.join(FILES)}. Next:", f"  cd {folder}", "  hansa serve        # the rest is in README.md"
    )
