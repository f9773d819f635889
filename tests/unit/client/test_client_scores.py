"""What a client tells of a version's calibration: losses with an evaluation, scores with a calibration."""

import numpy as np
import pytest
import torch
from running import AddOne
from torch import nn

from hansa.client import CalibrateResult, Config, EvaluateResult
from hansa.client.adapters.torch import TorchTrainer, params_of
from hansa.client.calibration import Confidence, Residuals
from hansa.client.errors import ResultError
from hansa.client.events import Dropped, Reported
from hansa.client.results import checked_evaluation, checked_scores
from hansa.protocol.calibration import CalibrationWish
from hansa.protocol.tasks import TaskKind
from hansa.uncertainty.probabilities import softmax
from hansa.uncertainty.scores import least_ambiguous, of_labels, residuals
from hansa.uncertainty.sketches import Grid, sketch_of
from hansa.uncertainty.temperature import loss_sums, tempered

LOSSES = CalibrationWish(losses=True)
RNG = np.random.default_rng(5)
LOGITS, LABELS = RNG.normal(0, 3, (50, 4)), RNG.integers(0, 4, 50)


def told(wish, *batches, seed=3):
    gathered = Confidence(Config(calibration=wish, seed=seed))
    for logits, labels in batches:
        gathered.add(logits, labels)
    return gathered


def halves():
    return (LOGITS[:7], LABELS[:7]), (LOGITS[7:], LABELS[7:])


def test_losses_are_told_where_the_task_asks_for_them_and_nothing_where_it_does_not():
    report = told(LOSSES, *halves()).report()
    assert tuple(report.losses.sums) == loss_sums(LOGITS, LABELS).sums
    assert (report.losses.count, sum(report.tally.counts), report.scores) == (50, 50, None)
    assert told(None, *halves()).report() is None
    assert Confidence().report() is None


def test_scores_are_those_under_the_temperature_that_the_task_names():
    gathered = told(CalibrationWish(scores="lac", temperature=2.0), *halves())
    expected = sketch_of(of_labels(least_ambiguous(tempered(LOGITS, 2.0)), LABELS), Grid.UNIT)
    report = gathered.report()
    assert (tuple(report.scores.cells), tuple(report.scores.counts)) == (expected.cells, expected.counts)
    assert gathered.metrics().keys() == {"ece_tempered"}
    assert report.losses is None


def test_without_a_temperature_the_scores_are_those_of_the_model_as_it_is():
    expected = sketch_of(of_labels(least_ambiguous(softmax(LOGITS)), LABELS), Grid.UNIT)
    assert told(CalibrationWish(scores="lac"), *halves()).report().scores.cells == [*expected.cells]


def test_adaptive_scores_throw_the_same_dice_for_the_same_task_and_others_for_another():
    wish = CalibrationWish(scores="aps")
    first, again, other = (told(wish, *halves(), seed=seed).report().scores for seed in (3, 3, 4))
    assert first == again != other


def test_outputs_that_are_not_finite_end_the_gathering():
    assert told(LOSSES, ([[1.0, np.inf]], [0])).report() is None
    with pytest.raises(ResultError, match="an output that is not finite"):
        checked_scores(CalibrateResult(1, told(CalibrationWish(scores="lac"), ([[1.0, np.inf]], [0])).report()))


def test_residuals_are_those_of_all_batches_together():
    predicted, answers = RNG.normal(size=(9, 2)), RNG.normal(size=(9, 2))
    gathered = Residuals()
    gathered.add(predicted[:4], answers[:4])
    gathered.add(predicted[4:], answers[4:])
    expected = sketch_of(residuals(predicted, answers), Grid.POSITIVE)
    assert gathered.report().scores.cells == [*expected.cells]
    assert Residuals().report() is None
    with pytest.raises(ValueError, match="gather them with Residuals"):
        Confidence(Config(calibration=CalibrationWish(scores="residual")))


def test_what_is_no_calibration_is_refused_here():
    with pytest.raises(ResultError, match=r"calibration is of type dict; wanted is what Confidence\(config\)"):
        checked_evaluation(EvaluateResult({}, 3, calibration={}))
    with pytest.raises(ResultError, match="calibrate returned of type EvaluateResult"):
        checked_scores(EvaluateResult({}, 3))
    assert checked_evaluation(EvaluateResult({}, 50, told(LOSSES, *halves()).report())).calibration is not None


class Scoring(AddOne):
    def evaluate(self, params, config):
        gathered = told(config.calibration, *halves())
        return EvaluateResult(gathered.metrics(), 50, gathered.report())

    def calibrate(self, params, config):
        gathered = told(config.calibration, *halves())
        return CalibrateResult(50, gathered.report(), gathered.metrics())


def test_losses_are_reported_with_the_evaluation(server, start):
    server.offer(kind=TaskKind.EVALUATE, calibration=LOSSES)
    start(Scoring()).until(Reported)
    (report,) = server.reports
    assert report["calibration"]["losses"]["count"] == report["num_examples"] == 50
    assert report["calibration"]["scores"] is None


def test_an_earlier_server_is_told_nothing_that_it_does_not_know(server, start):
    server.offer(kind=TaskKind.EVALUATE)
    start(Scoring()).until(Reported)
    assert server.reports[0]["calibration"] is None


def test_scores_are_reported_without_a_file(server, start):
    server.offer(kind=TaskKind.CALIBRATE, calibration=CalibrationWish(scores="lac", temperature=1.5), protocol=3)
    start(Scoring()).until(Reported)
    (report,) = server.reports
    assert sum(report["calibration"]["scores"]["counts"]) == 50
    assert report["metrics"].keys() == {"ece_tempered"}
    assert report["digest"] is None


def test_a_trainer_without_scores_gives_the_task_back_before_anything_is_fetched(server, start):
    server.offer(kind=TaskKind.CALIBRATE, calibration=CalibrationWish(scores="lac"), protocol=3)
    dropped = start(AddOne()).until(Dropped)
    assert dropped.failed
    assert "AddOne tells no scores: it has no method 'calibrate'" in dropped.reason
    assert not [request for request in server.requests if "/params/" in request]


# The torch adapter


def trainer(loss, target, *, outputs=4, **more):
    torch.manual_seed(1)
    module = nn.Linear(3, outputs)
    inputs = torch.from_numpy(np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32))
    batches = [(inputs[:8], target[:8]), (inputs[8:], target[8:])]
    return module, inputs, TorchTrainer(module, batches, loss, test_data=batches, **more)


def test_a_torch_module_tells_losses_and_scores_by_itself():
    target = torch.arange(20) % 4
    module, inputs, adapter = trainer(nn.CrossEntropyLoss(), target)
    params, _ = params_of(module)
    logits = module(inputs).detach().double().numpy()

    evaluated = adapter.evaluate(params, Config(calibration=LOSSES))
    assert tuple(evaluated.calibration.losses.sums) == loss_sums(logits, target.numpy()).sums
    assert adapter.evaluate(params, Config()).calibration is None
    scored = adapter.calibrate(params, Config(calibration=CalibrationWish(scores="lac", temperature=2.0)))
    expected = sketch_of(of_labels(least_ambiguous(tempered(logits, 2.0)), target.numpy()), Grid.UNIT)
    assert scored.calibration.scores.cells == [*expected.cells]
    assert (scored.num_examples, scored.metrics.keys()) == (20, {"ece_tempered"})


def test_a_torch_regression_tells_residuals():
    target = torch.linspace(-1, 1, 20).reshape(20, 1)
    module, inputs, adapter = trainer(nn.MSELoss(), target, outputs=1)
    scored = adapter.calibrate(params_of(module)[0], Config(calibration=CalibrationWish(scores="residual")))
    off = np.abs(module(inputs).detach().double().numpy() - target.double().numpy()).reshape(-1)
    assert scored.calibration.scores.cells == [*sketch_of(off, Grid.POSITIVE).cells]


def test_a_loss_that_declares_no_logits_tells_nothing_and_its_client_says_so():
    module, _, adapter = trainer(nn.NLLLoss(), torch.arange(20) % 4)
    scored = adapter.calibrate(params_of(module)[0], Config(calibration=CalibrationWish(scores="lac")))
    assert scored.calibration is None


def test_scores_are_of_examples_kept_apart_where_there_are_any():
    target = torch.arange(20) % 4
    apart = [(torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64))]
    module, _, adapter = trainer(nn.CrossEntropyLoss(), target, calibration_data=apart)
    scored = adapter.calibrate(params_of(module)[0], Config(calibration=CalibrationWish(scores="lac")))
    assert scored.num_examples == sum(scored.calibration.scores.counts) == 5


def test_without_examples_it_says_what_to_do():
    module = nn.Linear(2, 2)
    adapter = TorchTrainer(module, [], nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match="neither calibration_data nor test_data"):
        adapter.calibrate(params_of(module)[0], Config(calibration=CalibrationWish(scores="lac")))
