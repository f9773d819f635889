"""PyTorch: a module, its data and a loss become a Trainer.

    trainer = TorchTrainer(module, DataLoader(own_data, batch_size=32, shuffle=True), nn.CrossEntropyLoss())

Each task begins from the version given, with a new optimizer and with torch seeded from `config.seed`: on the CPU with
`torch.set_num_threads(1)` the same task gives the same bits again. Torch's global generator is one for the process, so
that holds for one trainer at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from hansa.client.calibration import Confidence, Residuals
from hansa.client.trainer import CalibrateResult, Config, EvaluateResult, MomentsResult, TrainResult
from hansa.core.moments import RunningMoments
from hansa.core.params import DTYPES, Array
from hansa.formats.layout import shown

Batch = Sequence[Tensor]
"""The module's inputs, and last the target. The first axis of the target counts examples."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""(output, target) → the mean over the batch."""
Metric = Callable[[Tensor, Tensor], Tensor | float]
"""(output, target) → a mean over the batch."""
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class TorchTrainer:
    """Trains and evaluates `module` on batches of local data.

    `train_data` and `test_data` are iterated anew for every epoch; a DataLoader is what is usually wanted, and each
    batch is (inputs..., target). The plan's `client_lr` and `momentum` come before those given here; `optimizer` makes
    another optimizer than SGD of the params that require a gradient. Metrics are reported beside the loss, in training
    as means over the last epoch; left out, it is the accuracy where targets are class numbers, and in evaluations by
    cross entropy, whose outputs are logits, the calibration error as well (`hansa.client.calibration`). Tensors go to
    `device`, or where the module already is.

    Where a plan wants a version calibrated, the scores are those of `calibration_data`, or else of `test_data`: of
    examples that no client trains on. Where it wants a temperature too, take others than `test_data`, which that is
    found with.

    Where a plan wants SWAG moments they are gathered after every `moments_every` steps of such a training.

    Params that do not require a gradient stay as they are; buffers (BatchNorm's statistics) change as torch changes
    them. FedProx's term is added where the plan has `proximal_mu` > 0 (Li et al. 2020, arXiv:1812.06127, eq. 2).
    """

    def __init__(  # noqa: PLR0913 - each is one choice of the user's, and all but three have a default
        self,
        module: nn.Module,
        train_data: Iterable[Batch],
        loss: Loss,
        *,
        test_data: Iterable[Batch] | None = None,
        calibration_data: Iterable[Batch] | None = None,
        optimizer: OptimizerFactory | None = None,
        client_lr: float = 0.01,
        momentum: float = 0.0,
        metrics: Mapping[str, Metric] | None = None,
        moments_every: int = 1,
        device: torch.device | str | None = None,
    ) -> None:
        if moments_every < 1:
            raise ValueError(
                f"moments_every is {moments_every}; the weights are looked at every so many steps, 1 or more"
            )
        self._module = module if device is None else module.to(device)
        self._device = next(chain(module.parameters(), module.buffers())).device
        self._train_data = train_data
        self._test_data = test_data
        self._calibration_data = test_data if calibration_data is None else calibration_data
        self._loss = loss
        self._optimizer = optimizer
        self._client_lr = client_lr
        self._momentum = momentum
        self._metrics = metrics
        self._moments_every = moments_every

    def train(self, params: dict[str, Array], config: Config) -> TrainResult:
        """Minimise the loss for `config.epochs` epochs, from `params`."""
        means = self._descend(params, config, lambda step: None)
        trained, _ = params_of(self._module)
        return TrainResult(trained, means.examples, means.values())

    def moments(self, params: dict[str, Array], config: Config) -> MomentsResult:
        """The moments of the weights that training from `params` visits: SWAG's diagonal.

        It trains as `train` does, at a constant rate, and looks at the weights after every `moments_every` steps, and
        after the last of all if there were fewer.
        """
        gathered = RunningMoments()

        def look(step: int) -> None:
            if step % self._moments_every == 0:
                gathered.add(learned_of(self._module))

        means = self._descend(params, config, look)
        if not gathered.count:
            gathered.add(learned_of(self._module))
        return MomentsResult(gathered.first(), gathered.second(), means.examples)

    def _descend(self, params: dict[str, Array], config: Config, after_step: Callable[[int], None]) -> "Means":
        """Train the module from `params`. Returns the means of the last epoch; `after_step` is told its number."""
        load_params(self._module, params)
        seed(config.seed, self._train_data)
        learned = [param for param in self._module.parameters() if param.requires_grad]
        base = [param.detach().clone() for param in learned]
        optimizer = self._optimizer_of(learned, config)
        self._module.train()
        means, steps = Means(), 0
        for epoch in range(config.epochs):
            means = Means()
            for step, batch in enumerate(self._batches(self._train_data)):
                if config.cancelled():
                    return means
                output, target = self._forward(batch)
                loss = self._loss(output, target)
                objective = loss
                if config.proximal_mu > 0:
                    objective = loss + config.proximal_mu / 2 * squared_distance(learned, base)
                optimizer.zero_grad()
                objective.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
                optimizer.step()
                steps += 1
                after_step(steps)
                means.add(self._measure(output, target, loss), examples=len(target))
                config.progress(self._share_done(epoch, step + 1, config.epochs))
        return means

    def evaluate(self, params: dict[str, Array], config: Config) -> EvaluateResult:
        """The loss and the metrics of `params` on `test_data`."""
        if self._test_data is None:
            raise ValueError(
                "this TorchTrainer has no test_data. Give it some, or set evaluation.every of the plan to 0"
            )
        means, told = Means(), Confidence(config)
        for output, target in self._outputs(params, self._test_data, config):
            means.add(self._measure(output, target, self._loss(output, target)), examples=len(target))
            if self._metrics is None or config.calibration is not None:
                _add_logits(told, output, target, self._loss)
        sureness = told.metrics() if self._metrics is None else {}
        return EvaluateResult({**means.values(), **sureness}, means.examples, told.report())

    def calibrate(self, params: dict[str, Array], config: Config) -> CalibrateResult:
        """How badly the predictions of `params` agree with `calibration_data`, by the score that the plan names."""
        if self._calibration_data is None:
            raise ValueError(
                "this TorchTrainer has neither calibration_data nor test_data. Give it some that it does not train on"
            )
        told = Residuals() if _by_residuals(config) else Confidence(config)
        examples = 0
        for output, target in self._outputs(params, self._calibration_data, config):
            examples += len(target)
            if isinstance(told, Residuals):
                told.add(_flat(output), _flat(target))
            else:
                _add_logits(told, output, target, self._loss)
        return CalibrateResult(examples, told.report(), told.metrics() if isinstance(told, Confidence) else {})

    def _outputs(
        self, params: dict[str, Array], data: Iterable[Batch], config: Config
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """What the module makes of each batch, and its target; the module is in eval mode."""
        load_params(self._module, params)
        seed(config.seed, data)
        self._module.eval()
        with torch.no_grad():
            for batch in self._batches(data):
                if config.cancelled():
                    return
                yield self._forward(batch)

    def _batches(self, data: Iterable[Batch]) -> Iterator[list[Tensor]]:
        for batch in data:
            yield [tensor.to(self._device) for tensor in batch]

    def _forward(self, batch: list[Tensor]) -> tuple[Tensor, Tensor]:
        *inputs, target = batch
        return self._module(*inputs), target

    def _measure(self, output: Tensor, target: Tensor, loss: Tensor) -> dict[str, float]:
        output, loss, metrics = output.detach(), loss.detach(), self._metrics
        if metrics is None:
            metrics = {"accuracy": accuracy} if _are_classes(output, target) else {}
        return {"loss": float(loss), **{name: float(metric(output, target)) for name, metric in metrics.items()}}

    def _optimizer_of(self, learned: list[nn.Parameter], config: Config) -> Optimizer:
        if self._optimizer is None:
            lr = self._client_lr if config.client_lr is None else config.client_lr
            momentum = self._momentum if config.momentum is None else config.momentum
            return torch.optim.SGD(learned, lr=lr, momentum=momentum)
        optimizer = self._optimizer(learned)
        for name, value in (("lr", config.client_lr), ("momentum", config.momentum)):
            for group in optimizer.param_groups if value is not None else ():
                if name not in group:
                    raise ValueError(
                        f"the plan asks for {name} {value}, which {type(optimizer).__name__} does not have"
                    )
                group[name] = value
        return optimizer

    def _share_done(self, epoch: int, steps: int, epochs: int) -> float:
        within = steps / len(self._train_data) if isinstance(self._train_data, Sized) else 0.0
        return (epoch + within) / epochs


class Means:
    """Means over examples, of values that are means over batches."""

    def __init__(self) -> None:
        self.examples = 0
        self._sums: dict[str, float] = {}

    def add(self, values: Mapping[str, float], *, examples: int) -> None:
        """Add one batch."""
        self.examples += examples
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * examples

    def values(self) -> dict[str, float]:
        """Name → mean; empty before the first example."""
        return {name: total / self.examples for name, total in self._sums.items()}


def squared_distance(learned: Sequence[Tensor], base: Sequence[Tensor]) -> Tensor:
    """‖w - w_base‖² over all tensors as one vector."""
    return torch.stack([(w - w_base).square().sum() for w, w_base in zip(learned, base, strict=True)]).sum()


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of targets that have the highest score; `output` is (N, classes, ...), `target` (N, ...)."""
    return (output.argmax(dim=1) == target).float().mean()


def _are_classes(output: Tensor, target: Tensor) -> bool:
    return not target.is_floating_point() and output.ndim == target.ndim + 1


def _add_logits(sureness: Confidence, output: Tensor, target: Tensor, loss: Loss) -> None:
    """Add a batch of (examples, classes), if the loss declares that these are logits: numbers could not tell."""
    if not isinstance(loss, nn.CrossEntropyLoss) or output.ndim != 2 or output.shape[1] < 2:
        return
    if _are_classes(output, target):
        counted = target != loss.ignore_index
        sureness.add(output[counted].double().cpu().numpy(), target[counted].cpu().numpy())


def _by_residuals(config: Config) -> bool:
    return config.calibration is not None and config.calibration.scores == "residual"


def _flat(values: Tensor) -> Array:
    """(examples, outputs): an interval holds all outputs of an example at once."""
    return values.detach().double().cpu().reshape(len(values), -1).numpy()


def seed(number: int, data: object) -> None:
    """Seed torch, and the generators that a DataLoader was given for itself, as `shuffle` draws from them."""
    torch.manual_seed(number)
    if isinstance(data, DataLoader):
        for generator in (data.generator, getattr(data.sampler, "generator", None)):
            if isinstance(generator, torch.Generator):
                generator.manual_seed(number)


def params_of(module: nn.Module) -> tuple[dict[str, Array], frozenset[str]]:
    """Copies of all arrays of a module by their names in its state dict, and which of them are buffers.

    Tied params appear under each of their names. Raises ValueError for what a model cannot hold.
    """
    params = {name: _array(name, value) for name, value in module.state_dict().items()}
    # All names of tied params: the state dict has them all, `parameters()` only the first.
    learned = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    return params, frozenset(params.keys() - learned)


def learned_of(module: nn.Module) -> dict[str, Array]:
    """The params of a module by all their names: views where they are on the CPU, which its next step changes."""
    params = module.named_parameters(remove_duplicate=False)
    return {name: param.detach().cpu().numpy() for name, param in params}


def _array(name: str, value: object) -> Array:
    dtype = str(value.dtype).removeprefix("torch.") if isinstance(value, Tensor) else type(value).__name__
    if not isinstance(value, Tensor) or dtype not in DTYPES:
        raise ValueError(
            f"{name!r} in the module's state is {dtype}; a model may hold tensors of {', '.join(DTYPES)}. Convert it, "
            "or keep it out of the state dict (register_buffer with persistent=False)."
        )
    return np.array(value.detach().cpu().numpy(), order="C")


def load_params(module: nn.Module, params: Mapping[str, Array]) -> None:
    """Put arrays into a module. Raises ValueError that names what does not fit: nothing is cast or left out."""
    state = module.state_dict()
    faults = []
    if missing := sorted(state.keys() - params.keys()):
        faults.append(f"the model lacks {shown(missing)}")
    if unknown := sorted(params.keys() - state.keys()):
        faults.append(f"the module lacks {shown(unknown)}")
    for name in sorted(state.keys() & params.keys()):
        ours, theirs = state[name], params[name]
        if tuple(ours.shape) != theirs.shape or str(ours.dtype) != f"torch.{theirs.dtype.name}":
            faults.append(
                f"{name!r} is {theirs.dtype.name} {theirs.shape} in the model and "
                f"{str(ours.dtype).removeprefix('torch.')} {tuple(ours.shape)} in the module"
            )
    if faults:
        raise ValueError(f"this module is not the one the model was created from: {'; '.join(faults[:3])}")
    module.load_state_dict({name: torch.from_numpy(array) for name, array in params.items()})
