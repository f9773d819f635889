"""Programs in real cells: what they compute, and that whatever they do harms nobody."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
import uvloop
from torch import nn

from hansa.formats import safetensors
from hansa.sandbox.confinement.protections import Protections, protections
from hansa.sandbox.messages import Call, Failed, Outcome, Program, Refused, Tensor, Unsupported
from hansa.sandbox.pool import Pool, UnprotectedError
from support.programs import opening

pytestmark = [
    pytest.mark.skipif(bool(protections().missing), reason=f"protections are {protections()}"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
]
LOOP = pytest.mark.asyncio(loop_scope="module")
ONES = np.ones((1, 4), np.float32)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    async with Pool(2, wall_seconds=5, memory=2**30) as started:
        yield started


async def asked(
    pool: Pool, path: Path, inputs: np.ndarray = ONES, params: Path | None = None, who: str = "", **how: object
) -> Outcome:
    paths = {path.name: path} | ({params.name: params} if params else {})
    program = Program(path.name, params.name if params else None)
    return await pool.run(Call((program,), (Tensor.of(inputs),), **how), opening(paths), who=who)  # type: ignore[arg-type]  # as said


def scripted(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))  # type: ignore[no-untyped-call]  # torch declares no types
    return path


class Loops(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while bool(torch.isfinite(x).all()):
            x = x * 1.0
        return x


class Eats(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ones([1 << 34]) + x[0, 0]


class Reads(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_file("/etc/hostname", False, 4, dtype=torch.uint8).float() + x


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return x + self.seen


@LOOP
async def test_a_script_computes_what_it_computes_here(pool: Pool, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    answer = await asked(pool, scripted(net, tmp_path / "script"))
    assert isinstance(answer, Tensor), answer
    np.testing.assert_array_equal(answer.array()[0], net(torch.from_numpy(ONES)).detach().numpy())


@LOOP
async def test_a_pickled_module_takes_the_numbers_of_a_version(pool: Pool, tmp_path: Path) -> None:
    net, path, params = nn.Sequential(nn.Linear(4, 3)), tmp_path / "module", tmp_path / "params"
    torch.save(net, path)
    numbers = {"0.weight": np.full((3, 4), 2, np.float32), "0.bias": np.zeros(3, np.float32)}
    with params.open("wb") as file:
        safetensors.write(file, numbers)
    answer = await asked(pool, path, params=params)
    assert isinstance(answer, Tensor), answer
    np.testing.assert_array_equal(answer.array(), np.full((1, 1, 3), 8, np.float32))


@LOOP
async def test_a_class_of_nobody_knows_whom_is_named(pool: Pool, tmp_path: Path) -> None:
    torch.save(Counts(), tmp_path / "module")
    answer = await asked(pool, tmp_path / "module")
    assert isinstance(answer, Unsupported)
    assert "Counts" in answer.what


@pytest.mark.parametrize(("module", "limit"), [(Loops, "wall_clock"), (Eats, "memory"), (Reads, "files")])
@LOOP
async def test_a_limit_is_named_and_the_next_caller_notices_nothing(
    pool: Pool, tmp_path: Path, module: type[nn.Module], limit: str
) -> None:
    answer = await asked(pool, scripted(module(), tmp_path / "harm"))
    assert isinstance(answer, Refused), answer
    assert answer.limit == limit
    assert isinstance(await asked(pool, scripted(nn.Linear(4, 3), tmp_path / "next")), Tensor)


@LOOP
async def test_answers_do_not_depend_on_what_was_asked_before(pool: Pool, tmp_path: Path) -> None:
    path = scripted(Counts(), tmp_path / "counts")
    answers = [await asked(pool, path) for _ in range(4)]
    assert all(isinstance(each, Tensor) and float(each.array().flat[0]) == 2.0 for each in answers)


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = [1.0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.extend([1.0])
        return x + len(self.seen)


class Unsaved(nn.Module):
    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.data.add_(1)
        return x + self.seen


@LOOP
@pytest.mark.parametrize("module", [Counts, Lists, Unsaved])
async def test_nothing_that_a_script_keeps_reaches_the_next_answer(
    pool: Pool, tmp_path: Path, module: type[nn.Module]
) -> None:
    path = scripted(module(), tmp_path / "keeps")
    answers = [await asked(pool, path) for _ in range(3)]
    assert isinstance(answers[0], Tensor), answers[0]
    assert answers[0] == answers[1] == answers[2]


@LOOP
async def test_random_preprocessing_repeats_with_its_seed(pool: Pool, tmp_path: Path) -> None:
    torch.save(nn.Identity(), tmp_path / "program")
    scripted(Noise(), tmp_path / "noise")
    files = opening({name: tmp_path / name for name in ("program", "noise")})
    call = Call((Program("program"),), (Tensor.of(ONES),), preprocessing="noise", seed=5)
    first, again = [await pool.run(call, files) for _ in range(2)]
    assert isinstance(first, Tensor), first
    assert first == again
    torch.manual_seed(5)
    np.testing.assert_array_equal(first.array()[0], ONES + torch.rand(4).numpy())


class Noise(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(4)


@LOOP
async def test_passes_with_dropout_differ_and_repeat_with_their_seed(pool: Pool, tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5)), tmp_path / "drops")
    first, again = [await asked(pool, tmp_path / "drops", passes="dropout", samples=3, seed=7) for _ in range(2)]
    assert isinstance(first, Tensor)
    assert first == again
    assert not np.array_equal(first.array()[0], first.array()[1])


@LOOP
async def test_an_error_of_the_program_is_told_in_its_words(pool: Pool, tmp_path: Path) -> None:
    answer = await asked(pool, scripted(nn.Linear(5, 3), tmp_path / "wide"))
    assert isinstance(answer, Failed)
    assert "shapes cannot be multiplied" in answer.detail


@LOOP
async def test_the_nursery_may_die_and_nobody_notices(pool: Pool, tmp_path: Path) -> None:
    path = scripted(nn.Linear(4, 3), tmp_path / "script")
    assert pool._nurse._process is not None
    pool._nurse._process.kill()
    pool._nurse._process.wait()
    assert all([isinstance(await asked(pool, path), Tensor) for _ in range(3)])


@LOOP
async def test_time_of_the_processor_ends_at_its_limit(tmp_path: Path) -> None:
    async with Pool(1, wall_seconds=20, cpu_seconds=4) as short:
        answer = await asked(short, scripted(Loops(), tmp_path / "loops"))
        assert isinstance(answer, Refused), answer
        assert answer.limit == "cpu"


@LOOP
async def test_a_crash_is_told_by_its_signal(tmp_path: Path) -> None:
    path = scripted(Loops(), tmp_path / "loops")
    async with Pool(1, wall_seconds=20) as one:
        pidfd = one._spare[0].pidfd
        asking = asyncio.create_task(asked(one, path))
        while one._spare:  # noqa: ASYNC110 - the pool tells nobody when a call reaches its cell
            await asyncio.sleep(0)
        signal.pidfd_send_signal(pidfd, signal.SIGSEGV)
        answer = await asking
        assert isinstance(answer, Failed), answer
        assert "Segmentation fault" in answer.detail
        assert isinstance(await asked(one, scripted(nn.Linear(4, 3), tmp_path / "next")), Tensor)


@pytest.mark.parametrize("make", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_three_hundred_calls_leave_descriptors_and_processes_as_they_were(
    make: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path
) -> None:
    good, bad = scripted(nn.Linear(4, 3), tmp_path / "good"), scripted(nn.Linear(5, 3), tmp_path / "bad")

    async def many() -> None:
        before = resources()
        async with Pool(2, wall_seconds=20, memory=2**30) as busy:
            for _ in range(15):
                await asyncio.gather(*(asked(busy, bad if number % 5 == 0 else good) for number in range(20)))
            # a caller who goes away has its cell replaced
            for empty in (False, True):  # in its call, and while a cell is made for it
                while empty and busy._spare:
                    busy._spare.pop().end()
                leaver = asyncio.create_task(asked(busy, good))
                for _ in range(4):
                    await asyncio.sleep(0)
                leaver.cancel()
                with suppress(asyncio.CancelledError):
                    await leaver
            assert isinstance(await asked(busy, good), Tensor)
        assert resources() == before

    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(asyncio.sleep(0))
        runner.run(warm())
        runner.run(many())


async def warm() -> None:
    """What a loop opens once, and keeps."""
    await asyncio.to_thread(len, "")


def resources() -> tuple[int, int]:
    """How many descriptors this process has, and how many children."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return len(list(Path("/proc/self/fd").iterdir())), len(children)


HOST = """
import asyncio
from hansa.sandbox.pool import Pool

async def main():
    async with Pool(2):
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_killed_server_leaves_no_process() -> None:
    with subprocess.Popen([sys.executable, "-c", HOST], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        children = descendants(server.pid)
        assert len(children) == 3, "the nursery and two cells"
        handles = [os.pidfd_open(child) for child in children]
        server.kill()
        server.wait()
    for handle in handles:
        assert select.select([handle], [], [], 20)[0], "the process lives on"
        os.close(handle)


def descendants(pid: int) -> list[int]:
    """All processes below one. A process with several threads lists its children by thread."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for each in lists for child in each.read_text().split()]
    return children + [below for child in children for below in descendants(child)]


def test_without_a_protection_programs_are_refused_unless_weakness_is_wanted() -> None:
    lacking = Protections(landlock=0, seccomp=True, limits=True)
    with pytest.raises(UnprotectedError, match="HANSA_SANDBOX=weak"):
        Pool(having=lacking)
    assert Pool(weak=True, having=lacking).protections.missing == ("landlock",)


@LOOP
async def test_where_weakness_is_wanted_programs_are_run_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = Protections(landlock=0, seccomp=False, limits=True)
    async with Pool(1, weak=True, having=lacking) as weak:
        assert "landlock, seccomp" in caplog.text
        assert isinstance(await asked(weak, scripted(nn.Linear(4, 3), tmp_path / "script")), Tensor)


class Prints(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        print("HANSA ERROR: forged")
        return x


@LOOP
async def test_what_a_program_prints_reaches_no_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with Pool(1) as started:
        assert isinstance(await asked(started, scripted(Prints(), tmp_path / "script")), Tensor)
    assert "forged" not in "".join(capfd.readouterr())
