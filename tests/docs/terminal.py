"""A reader's terminal: types what a document says into a shell, in a home and a folder of its own."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sysconfig
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

from docs.blocks import Block, Command
from hansa.simulation.chaos.processes import clean_environment
from support.databases import settings_of
from system.processes import free_port

PATIENCE = 120.0
WRITTEN_PORT = "8000"
"""The port in the documents; here it stands for a free one."""

# One command with the folder and the variables that those before it left, and which it leaves to the next.
SCRIPT = """
set -eu -o pipefail
[ ! -e "$SHELL_STATE/variables" ] || . "$SHELL_STATE/variables"
[ ! -e "$SHELL_STATE/folder" ] || cd "$(cat "$SHELL_STATE/folder")"
{command}
pwd > "$SHELL_STATE/folder"
export -p > "$SHELL_STATE/variables"
"""


@dataclass
class Terminal:
    folder: Path
    port: str = field(default_factory=lambda: str(free_port()))
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home, self.state, self.work = self.folder / "home", self.folder / "shell", self.folder / "work"
        for folder in (self.home, self.state, self.work):
            folder.mkdir(parents=True)

    @property
    def environment(self) -> dict[str, str]:
        kept = clean_environment("XDG_", "PYTEST_", "COV_")
        path = os.pathsep.join([sysconfig.get_path("scripts"), kept.get("PATH", "")])
        own = {"HOME": str(self.home), "PATH": path, "SHELL_STATE": str(self.state), "COLUMNS": "80", "TERM": "dumb"}
        return {**kept, **own, **settings_of(self.home), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}

    @property
    def url(self) -> str:
        """Where its server answers."""
        return f"http://127.0.0.1:{self.port}"

    def perform(self, block: Block) -> None:
        """Do with a block what its directives say."""
        if "not run" in block.directives:
            return
        if "file" in block.directives:
            target = self.current / block.directives["file"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self.real(block.text))
        elif block.language == "python":
            (self.state / "block.py").write_text(self.real(block.text))
            self.run(Command(f"python {self.state / 'block.py'}", None), place=block.place)
        elif block.language == "console":
            self._console(block)

    def _console(self, block: Block) -> None:
        assert block.commands, f"{block.place}: no line begins with '$ '"
        until = block.directives.get("runs on until")
        answers = block.directives["typed"].split(" | ") if "typed" in block.directives else []
        for command in block.commands:
            if until is not None:
                self.begin(command.text, until=until)
            else:
                code = int(block.directives.get("fails", "0"))
                self.run(command, answers=answers, code=code, place=block.place)

    @property
    def current(self) -> Path:
        """The folder that the last command left."""
        left = self.state / "folder"
        return Path(left.read_text().strip()) if left.exists() else self.work

    def real(self, text: str) -> str:
        """With the port that stands for the written one."""
        served = re.sub(r"\bhansa serve\b(?!.*--port)", f"hansa serve --port {self.port}", text)
        return re.sub(rf"(?<=[:\s]){WRITTEN_PORT}\b", self.port, served)

    def run(
        self, command: Command, *, answers: "list[str] | tuple[str, ...]" = (), code: int = 0, place: str = ""
    ) -> str:
        """Run to the end, compare what was printed, and give it."""
        script = SCRIPT.replace("{command}", self.real(command.text))
        output, ended = self._in_terminal(script, list(answers)) if answers else self._in_pipe(script)
        assert ended == code, f"{place}: `{command.text}` ended with {ended}:\n{output}"
        printed = output.replace(self.port, WRITTEN_PORT)
        if command.expected is not None:
            assert matches(command.expected, printed), (
                f"{place}: `{command.text}` printed:\n{printed}\nThe document has:\n{command.expected}"
            )
        return printed

    def _in_pipe(self, script: str) -> tuple[str, int]:
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return ran.stdout, ran.returncode

    def _in_terminal(self, script: str, answers: list[str]) -> tuple[str, int]:
        """In a terminal of its own, where each prompt (what ends with a colon) gets the next answer."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.work,
            env=self.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one system call; passwords are asked for on /dev/tty
        )
        os.close(theirs)
        seen, answered, end = b"", 0, time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < end, f"nobody answers the prompt of: {seen.decode()}"
            if not select.select([ours], [], [], 0.2)[0]:
                continue
            try:
                new = os.read(ours, 4096)
            except OSError:  # how Linux says that nobody has the other end open
                break
            seen += new
            if answers and seen[answered:].rstrip(b" ").endswith(b":"):
                answered = len(seen)
                os.write(ours, (answers.pop(0) + "\n").encode())
        os.close(ours)
        return seen.decode().replace("\r\n", "\n"), process.wait(PATIENCE)

    def begin(self, command: str, *, until: str) -> None:
        """Start a command that runs on, and wait until it has printed what is waited for."""
        script = SCRIPT.replace("{command}", f"exec bash -c {_quoted(self.real(command))}")
        log = self.folder / f"running-{len(self.running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.work,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(process)
        end = time.monotonic() + PATIENCE
        while until not in log.read_text():
            assert process.poll() is None, f"`{command}` ended with {process.returncode}:\n{log.read_text()}"
            assert time.monotonic() < end, f"`{command}` never printed {until!r}:\n{log.read_text()}"
            time.sleep(0.05)

    def close(self) -> None:
        """End what runs on."""
        for process in reversed(self.running):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def matches(expected: str, printed: str) -> bool:
    """Whether the document's lines, in which `…` is anything, are what was printed. Runs of spaces are one."""
    pattern = r"\s*".join(_pattern(line) for line in expected.strip().splitlines())
    return re.fullmatch(pattern, _spaced(printed.strip()), flags=re.DOTALL) is not None


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in _spaced(line.strip()).split("…"))


def _spaced(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
