"""Programs that do harm, in cells of a pool: each is stopped and told why, and good callers notice nothing."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import torch
from torch import nn

from hansa.sandbox import nurse
from hansa.sandbox.confinement.protections import protections
from hansa.sandbox.messages import Broken, Call, Outcome, Program, Refused, Tensor
from hansa.sandbox.nurse import BirthError
from hansa.sandbox.pool import Pool
from support import harmful_nursery
from support.harmful_nursery import HARM, harmful
from support.programs import opening

pytestmark = [
    pytest.mark.skipif(bool(protections().missing), reason=f"protections are {protections()}"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.asyncio(loop_scope="module"),
]
ONES = np.ones((1, 4), np.float32)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nurse, "NURSERY", ("-P", harmful_nursery.__file__))
        async with Pool(2, wall_seconds=20, memory=2**30) as started:
            yield started


async def asked(pool: Pool, path: Path, inputs: np.ndarray = ONES, who: str = "") -> Outcome:
    call = Call((Program(str(path)),), (Tensor.of(inputs),))
    return await pool.run(call, opening({str(path): path}), who=who)


def scripted(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))  # type: ignore[no-untyped-call]  # torch declares no types
    return path


@pytest.mark.parametrize("harm", HARM)
async def test_harm_is_stopped_at_the_limit_that_is_named(pool: Pool, tmp_path: Path, harm: str) -> None:
    answer = await asked(pool, harmful(harm, tmp_path / "harm"))
    assert isinstance(answer, Refused), answer
    assert answer.limit == HARM[harm][1]


async def test_good_callers_notice_nothing_of_harm_beside_them(pool: Pool, tmp_path: Path) -> None:
    net = nn.Linear(4, 3)
    good = scripted(net, tmp_path / "good")
    wanted = net(torch.from_numpy(ONES)).detach().numpy()
    bad = [harmful(harm, tmp_path / harm) for harm in HARM]
    calls = [asked(pool, path, who="bad") for path in bad] + [asked(pool, good, who=f"good{n % 3}") for n in range(12)]
    answers = await asyncio.gather(*calls)
    assert all(isinstance(each, Refused) for each in answers[: len(bad)])
    for answer in answers[len(bad) :]:
        assert isinstance(answer, Tensor), answer
        np.testing.assert_allclose(answer.array()[0], wanted, rtol=1e-6)


class Remembers(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = [torch.empty([x.size(1)]) for _ in range(50)]
        return torch.stack(found)


class Secret(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = [torch.full([x.size(1)], 42.5) for _ in range(50)]
        return kept[0].sum() + x


@pytest.mark.parametrize("same", [True, False], ids=["of the same model", "of another model"])
async def test_memory_that_is_not_written_to_shows_no_earlier_input(pool: Pool, tmp_path: Path, same: bool) -> None:
    looking = scripted(Remembers(), tmp_path / "looking")
    secret = np.full((1, 5000), 42.5, np.float32)
    for _ in range(3):
        await asked(pool, looking if same else scripted(Secret(), tmp_path / "secret"), secret)
        answer = await asked(pool, looking, np.zeros((1, 5000), np.float32))
        assert isinstance(answer, Tensor), answer
        assert not (answer.array() == 42.5).any()


class Works(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        working = torch.jit.fork(_for_long, x)
        if x.numel() > 1000:  # so that the work is not left out as useless
            x = torch.jit.wait(working)
        return x


def _for_long(x: torch.Tensor) -> torch.Tensor:
    for _ in range(1 << 40):
        x = x + 1
    return x


async def test_work_that_outlives_its_answer_ends_with_it(pool: Pool, tmp_path: Path) -> None:
    path = scripted(Works(), tmp_path / "works")
    answer = await asked(pool, path)
    assert isinstance(answer, Tensor), answer
    assert (((Program(str(path)),), None, None)) not in [cell.holds for cell in pool._idle]


async def test_a_cell_serves_one_model_for_life_and_several_are_kept(pool: Pool, tmp_path: Path) -> None:
    nets = {width: nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Flatten()) for width in (2, 3, 5)}
    paths = [scripted(net, tmp_path / f"net{width}") for width, net in nets.items()]
    for path in paths:
        await asked(pool, path)
    pids = {cell.pid: cell.holds for cell in pool._idle}
    for path in (*paths, *paths):
        assert isinstance(await asked(pool, path), Tensor)
    assert {cell.pid: cell.holds for cell in pool._idle if cell.pid in pids} == pids
    assert len(set(pids.values())) >= 3


class Slow(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(300_000):
            x = x * 1.0
        return x


async def test_a_nursery_that_dies_during_a_call_is_not_noticed(pool: Pool, tmp_path: Path) -> None:
    slow = scripted(Slow(), tmp_path / "slow")
    await asked(pool, scripted(nn.Linear(4, 3), tmp_path / "first"))
    asking = asyncio.create_task(asked(pool, slow))
    async with asyncio.timeout(20):
        while pool._turns._running.total() == 0 or len(pool._spare) == 2:  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0)
    assert pool._nurse._process is not None
    pool._nurse._process.kill()
    assert isinstance(await asking, Tensor)


async def test_a_machine_that_can_open_no_more_files_is_no_fault_of_the_program(pool: Pool, tmp_path: Path) -> None:
    path, before = scripted(nn.Linear(4, 3), tmp_path / "net"), pool._nurse.pid

    def none() -> None:
        raise OSError(24, "Too many open files")

    answer = await pool.run(Call((Program("net"),), (Tensor.of(ONES),)), none)  # type: ignore[arg-type]  # it raises
    assert isinstance(answer, Broken), answer
    assert "Too many open files" in answer.detail
    assert isinstance(await asked(pool, path), Tensor)
    assert pool._nurse.pid == before


async def test_a_nursery_that_can_make_no_process_says_so_and_goes_on(pool: Pool, tmp_path: Path) -> None:
    assert pool._nurse.pid is not None
    nursery = pool._nurse.pid
    limits = resource.prlimit(nursery, resource.RLIMIT_NOFILE)
    resource.prlimit(nursery, resource.RLIMIT_NOFILE, (5, limits[1]))
    with pytest.raises(BirthError, match=r"Too many open files|too many files"):
        await pool._nurse.cell()
    resource.prlimit(nursery, resource.RLIMIT_NOFILE, limits)
    (await pool._nurse.cell()).end()
    assert pool._nurse.pid == nursery


async def test_a_signal_that_ends_the_server_leaves_the_nursery_to_it(pool: Pool, tmp_path: Path) -> None:
    assert pool._nurse.pid is not None
    nursery = pool._nurse.pid
    os.kill(nursery, signal.SIGTERM)
    assert isinstance(await asked(pool, scripted(nn.Linear(4, 3), tmp_path / "net")), Tensor)
    (await pool._nurse.cell()).end()
    assert pool._nurse.pid == nursery


async def test_what_is_asked_of_a_closed_pool_is_told_so(tmp_path: Path) -> None:
    closed = Pool(1)
    await closed.__aexit__(None, None, None)
    answer = await asked(closed, scripted(nn.Linear(4, 3), tmp_path / "net"))
    assert answer == Broken("the server is ending")
