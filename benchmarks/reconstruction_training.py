"""Throughput and memory of training the U-Net, beside a bare loop of the same network and losses.

    python benchmarks/reconstruction_training.py [--sides 128 256] [--steps 24] [--device auto] [--threads 2]

The bare loop does forward, backward and step on tensors that are ready in memory: nothing is drawn, changed, hidden,
watched or checked. Both take their steps in turn, so that other work on the machine hits them alike, and medians count.
An epoch adds what comes after its steps: judging held-out slices and writing the checkpoint. Peak memory is that of a
training of one epoch in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from anomalabel.backbones.device import choose_device, choose_dtype
from anomalabel.config import AugmentationSettings, ReconstructionSettings
from anomalabel.reconstruction.network import build_unet
from anomalabel.training.reconstruction.batches import UNCHANGED, draw_epoch, make_batch
from anomalabel.training.reconstruction.epochs import JUDGED_SLICES, Epochs
from anomalabel.training.reconstruction.fit import fit_reconstruction
from anomalabel.training.reconstruction.learner import TOTAL, Learner
from anomalabel.training.reconstruction.objective import objective
from anomalabel.training.reconstruction.processes import Processes
from anomalabel.training.reconstruction.slices import HealthySlices
from anomalabel.training.reconstruction.state import CheckpointPlace, TrainingState

SLICES = 400
WARM = 3
CHANGED = AugmentationSettings(mirror_left_right=True, mirror_up_down=True)
LIMITS = {"ratio": 0.85, "gigabytes": 6.0}


def slices(side: int) -> HealthySlices:
    """Noise; what is learned does not matter here."""
    generator = torch.Generator().manual_seed(0)
    shape = (SLICES, side, side)
    hidden = torch.rand(shape, generator=generator) > 0.75
    names = tuple(str(number) for number in range(SLICES))
    return HealthySlices(torch.rand(shape, generator=generator).half(), hidden, torch.ones_like(hidden), names)


def bare_step(settings: ReconstructionSettings, held: HealthySlices, device: torch.device) -> Callable[[], None]:
    """Forward, backward and step on one batch after the other of four that are ready."""
    network = build_unet(settings.channels).to(device)
    if device.type == "cuda":
        network = network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), settings.training.learning_rate, fused=True)
    drawn = draw_epoch(len(held), 4 * settings.training.batch_size, settings.training.batch_size, (8,), 1, 0)
    ready = [make_batch(held, draws, UNCHANGED, device) for draws in drawn]
    enabled = choose_dtype(device, "auto") == torch.bfloat16
    number = 0

    def step() -> None:
        nonlocal number
        batch = ready[number % len(ready)]
        number += 1
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            restored = network(batch.shown)
        losses = objective(restored, batch.images, batch.inside, settings.losses, settings.similarity)
        optimiser.zero_grad(set_to_none=True)
        loss: Tensor = torch.stack(list(losses.values())).sum(0).mean()
        loss.backward()
        optimiser.step()

    return step


def measure(side: int, steps: int, device: torch.device, folder: Path) -> dict[str, float]:
    """Seconds of a bare step and of one of ours, and of what ends an epoch."""
    settings = ReconstructionSettings(side=side)
    batch_size, rate = settings.training.batch_size, settings.training.learning_rate
    held = slices(side)
    bare = bare_step(settings, held, device)
    network = build_unet(settings.channels).to(device)
    if device.type == "cuda":
        network, held = network.to(memory_format=torch.channels_last), held.to(device)
    optimiser = torch.optim.AdamW(network.parameters(), rate, fused=True)
    learner = Learner(network, optimiser, settings, device, Processes())
    state = TrainingState(network, optimiser)
    drawn = draw_epoch(SLICES, (steps + WARM) * batch_size, batch_size, settings.mosaic.blocks, 0, 0)
    times: dict[str, list[float]] = {"bare": [], "ours": []}
    for draws in drawn:
        times["bare"].append(seconds(bare, device))
        times["ours"].append(seconds(lambda draws=draws: learner.learn(held, draws, CHANGED, rate), device))
    epochs = Epochs(learner, state, held, held, CHANGED, 0, lambda stage, done, total: None)
    judging = seconds(lambda: state.finish_epoch(learner.judge(held, epochs.held_out_draws(0))[TOTAL]), device)
    writing = seconds(lambda: CheckpointPlace(folder, "benchmark").write(state), device)
    found = {name: median(values[WARM:]) for name, values in times.items()}
    count = -(-settings.training.samples // batch_size)
    epoch = count * found["ours"] + judging + writing
    return {**found, "judging": judging, "writing": writing, "epoch": count * found["bare"] / epoch}


def seconds(act: Callable[[], object], device: torch.device) -> float:
    """Wall-clock seconds until the device is done."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    act()
    wait()
    return time.perf_counter() - start


def peak(side: int, steps: int, device: torch.device) -> dict[str, float]:
    """Peak gigabytes of a training in this process: of main memory, and of the GPU's."""
    training = {"epochs": 1, "samples": 16 * steps, "batch_size": 16}
    settings = ReconstructionSettings.model_validate({"side": side, "training": training})
    held = slices(side)
    with tempfile.TemporaryDirectory() as name:
        fit_reconstruction(held, held, settings, CHANGED, 0, device, lambda *_: None, Path(name), "benchmark")
    found = {"main": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}
    if device.type == "cuda":
        found["GPU"] = torch.cuda.max_memory_allocated(device) / 1e9
    return found


def peak_in_own_process(side: int, given: argparse.Namespace) -> dict[str, float]:
    """As `peak`, unspoiled by what was measured before."""
    command = [sys.executable, __file__, "--peak-at", str(side), "--device", given.device, "--steps", "8"]
    told = subprocess.run(
        [*command, "--threads", str(given.threads)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return {name: float(value) for name, value in json.loads(told.splitlines()[-1]).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=(128, 256))
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peak-at", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = choose_device(given.device)
    if given.peak_at is not None:
        print(json.dumps(peak(given.peak_at, given.steps, device)))
        return
    default = ReconstructionSettings()
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{given.threads} threads"
    print(f"{where}, {choose_dtype(device, 'auto')}, channels {default.channels}, batch 16, {JUDGED_SLICES} judged\n")
    print("| side | bare: samples a second | ours | ratio of steps | ratio of epochs | peak memory, GB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        for side in given.sides:
            found = measure(side, given.steps, device, Path(name))
            gigabytes = ", ".join(f"{value:.2f} {kind}" for kind, value in peak_in_own_process(side, given).items())
            rates = " | ".join(f"{16 / found[one]:.1f}" for one in ("bare", "ours"))
            ratio = found["bare"] / found["ours"]
            print(f"| {side} | {rates} | {ratio:.3f} | {found['epoch']:.3f} | {gigabytes} |", flush=True)
    print(f"| limit | | | {LIMITS['ratio']} | | {LIMITS['gigabytes']:g} at 256 |")


if __name__ == "__main__":
    main()
