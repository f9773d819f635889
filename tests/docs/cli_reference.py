"""Writes docs/reference/cli.md from the commands themselves.

python tests/docs/cli_reference.py > docs/reference/cli.md
"""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from hansa.cli.app import app

HEAD = """# Command line

Written by a program from the commands' own `--help`.

Commands ask the server that was logged in to last (`hansa login`), or the one named. They print tables for people, or
with `--json` one JSON document of the [API](api.md)'s messages for programs. Errors go to stderr, in a line or three.
Models, trainings, clients and tokens are named by their id, by the beginning of it, or by their name where that is
unique.

| Exit code | Meaning |
| --- | --- |
| 0 | done |
| 1 | what was asked for could not be done, or the training that was watched did not complete |
| 2 | the command was not called as it wants to be |
| 3 | the server did not answer; the same command may succeed later |
| 4 | no credentials, ones the server does not know, or ones that do not suffice |
| 130 | ended by Ctrl-C |

Every command that asks a server has these options (*server options* below):

| Option | Variable | Meaning |
| --- | --- | --- |
"""
SHARED = ("server", "token_file", "ca", "as_json")
HIDDEN = ("help", "install_completion", "show_completion")


def reference() -> str:
    """The whole page."""
    root = get_command(app)
    commands = list(_commands(root, "hansa"))
    example = next(command for path, command in commands if path == "hansa models list")
    shared = [_row(param, variable=True) for param in example.params if param.name in SHARED]
    return HEAD + "\n".join([*shared, "", *(line for path, command in commands for line in _section(path, command))])


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:  # Any: typer's commands, public in name only
    for name, child in getattr(command, "commands", {}).items():
        yield f"{path} {name}", child
        yield from _commands(child, f"{path} {name}")


def _section(path: str, command: Any) -> list[str]:
    if hasattr(command, "commands"):
        return [f"## {path}", "", command.help, ""]
    own = [param for param in command.params if param.name not in HIDDEN and not _is_shared(param)]
    shared = [param for param in command.params if _is_shared(param)]
    usage = " ".join([path, *("[OPTIONS]" for _ in command.params[:1]), *map(_argument, own)])
    level = "###" if path.count(" ") > 1 else "##"
    lines = [f"{level} {path}", "", command.help.replace("\n    ", "\n"), "", f"`{' '.join(usage.split())}`", ""]
    if own:
        lines += ["| | Meaning |", "| --- | --- |", *(_row(param) for param in own), ""]
    if len(shared) == len(SHARED):
        lines += ["With the server options.", ""]
    elif shared:
        lines += [f"With {', '.join(f'`{param.opts[0]}`' for param in shared)} of the server options.", ""]
    return lines


def _is_shared(param: Any) -> bool:
    """Some commands have an option of their own under the same name."""
    return (param.name in SHARED and param.envvar == f"HANSA_{param.name.upper()}") or param.name == "as_json"


def _argument(param: Any) -> str:
    if param.param_type_name != "argument":
        return ""
    return _metavar(param) if param.required else f"[{_metavar(param)}]"


def _metavar(param: Any) -> str:
    assert param.metavar, f"{param.name} has no metavar: give it one, its help needs it as well"
    return str(param.metavar)


def _row(param: Any, *, variable: bool = False) -> str:
    name = _metavar(param) if param.param_type_name == "argument" else ", ".join(param.opts)
    value = "" if param.param_type_name == "argument" or param.is_flag else f" {_metavar(param)}"
    parts = [param.help or ""]
    if param.param_type_name == "option":
        parts += ["**Must be given.**"] if param.required else []
        plain = param.default not in (None, "", False) and not callable(param.default)
        parts += [f"Default: {param.default}."] if plain else []
        parts += [f"Or `{param.envvar}`."] if param.envvar and not variable else []
    columns = [
        f"`{name}{value}`",
        *([f"`{param.envvar}`" if param.envvar else ""] if variable else []),
        " ".join(parts),
    ]
    return f"| {' | '.join(columns)} |"


if __name__ == "__main__":
    print(reference(), end="")
