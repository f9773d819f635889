"""All that a client brings: its own data, the model and a loss. `hansa client run trainer:trainer` does the rest."""

import os
from pathlib import Path

import numpy as np
import torch
from data import Digits, hold_out, load
from model import model
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hansa.client.adapters.torch import TorchTrainer

torch.set_num_threads(1)  # five clients share this machine; and with one thread the same seed gives the same bits


def batches(digits: Digits, *, shuffle: bool = False) -> DataLoader[tuple[torch.Tensor, ...]]:
    dataset = TensorDataset(torch.from_numpy(digits.images), torch.from_numpy(digits.labels))
    return DataLoader(dataset, batch_size=16, shuffle=shuffle)


own = load(Path(os.environ["DIGITS"]))  # this client's file; no other client, nor the server, reads it
for_training, for_evaluation = hold_out(own, share=0.2, rng=np.random.default_rng(0))

trainer = TorchTrainer(
    model(),
    batches(for_training, shuffle=True),
    nn.CrossEntropyLoss(),
    test_data=batches(for_evaluation),
)
