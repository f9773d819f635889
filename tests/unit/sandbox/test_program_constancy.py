"""What a program keeps from one call to the next is noticed."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from hansa.sandbox.programs.scripts import keeps
from hansa.sandbox.programs.snapshots import is_same, snapshot

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.fixture(autouse=True, params=[False, True], ids=["as in a cell", "optimised"])
def optimises(request: pytest.FixtureRequest) -> Iterator[None]:
    """Torch writes a script out to other depths where its executor optimises, which in a cell it does not."""
    before = torch._C._get_graph_executor_optimize()
    torch._C._set_graph_executor_optimize(request.param)
    yield
    torch._C._set_graph_executor_optimize(before)


class Holds(nn.Module):
    unsaved: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("unsaved", torch.zeros(2), persistent=False)
        self.plain = torch.zeros(2)
        self.listed = [torch.zeros(2)]
        self.mapped = {"inner": {"deep": (torch.zeros(2),)}}
        self.count = 0


CHANGES: dict[str, Callable[[Holds], object]] = {
    "a buffer that is not saved": lambda held: held.unsaved.add_(1),
    "a tensor attribute": lambda held: held.plain.add_(1),
    "a tensor in a list": lambda held: held.listed[0].add_(1),
    "a tensor deep in containers": lambda held: held.mapped["inner"]["deep"][0].add_(1),
    "a number": lambda held: setattr(held, "count", 1),
    "an exchanged tensor": lambda held: setattr(held, "plain", torch.zeros(2)),
    "a list that grows": lambda held: held.listed.append(torch.zeros(2)),
    "a mode": lambda held: held.train(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(change: str) -> None:
    held = Holds().eval()
    wrapped = nn.Sequential(held).eval()
    before = snapshot([wrapped])
    assert is_same(before, snapshot([wrapped]))
    CHANGES[change](held)
    assert not is_same(before, snapshot([wrapped]))


def test_an_embedding_that_renorms_its_table_is_seen() -> None:
    table = nn.Embedding(3, 2, max_norm=0.1).eval()
    before = snapshot([table])
    with torch.no_grad():
        table(torch.tensor([0]))
    assert not is_same(before, snapshot([table]))


MUTATIONS = {
    "append": "self.items.append(1)",
    "extend": "self.items.extend([1])",
    "insert": "self.items.insert(0, 1)",
    "pop": "self.items.pop()",
    "clear": "self.items.clear()",
    "item": "self.items[0] = 2",
    "delete": "del self.items[0]",
    "sort": "self.items.sort()",
    "reverse": "self.items.reverse()",
    "attribute": "self.count = self.count + 1",
    "entry": "self.table['a'] = 2",
    "update": "self.table.update({'b': 1})",
    "in place": "self.plain.add_(1)",
    "in a slice": "self.plain[0] = 1",
    "behind the counter": "self.plain.data.add_(1)",
    "by a name of its own": "other = self.items\n    other.append(1)",
    "in a loop": "for i in range(3):\n        self.items.append(i)",
    "of a generator": "torch.manual_seed(3)",
}


class Empty(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.items = [1, 2]
        self.table = {"a": 1}
        self.plain = torch.zeros(2)
        self.count = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.count + len(self.items) + len(self.table) + self.plain.sum()


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_every_mutation_of_a_script_is_known(mutation: str) -> None:
    # instances share a type, and its methods: each has a name of its own
    name = f"forward_{torch._C._get_graph_executor_optimize()}_{mutation.replace(' ', '_')}"
    script = torch.jit.script(Empty())
    script.define(f"def {name}(self, x: Tensor) -> Tensor:\n    {MUTATIONS[mutation]}\n    return x\n")
    assert keeps(getattr(script, name))


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.zeros(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.count(x)

    def count(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return x


def test_a_mutation_deep_in_calls_is_known() -> None:
    deep = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Sequential(Counts())))
    assert keeps(torch.jit.script(deep.eval()))


def test_a_script_that_only_reads_what_it_holds_keeps_nothing() -> None:
    assert not keeps(torch.jit.script(Empty()))


class Own(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [x]
        parts.append(x.relu_())
        out = torch.zeros_like(x)
        out[0] = 1
        x += out
        return torch.cat(parts)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.lstm(x)[0]
        return found


@pytest.mark.parametrize(
    "module",
    [
        Own(),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Dropout(0.5, inplace=True)),
        Recurrent(),
        nn.TransformerEncoderLayer(8, 2),
    ],
    ids=["own", "cnn", "lstm", "transformer"],
)
def test_what_a_call_makes_itself_it_may_write(module: nn.Module) -> None:
    assert not keeps(torch.jit.script(module.eval()))
