"""Ray Train's way in. It imports nothing at its top: Train's controller loads it too, and needs no torch."""

from __future__ import annotations

from typing import Any


def worker_loop(config: dict[str, Any]) -> None:
    """What Ray Train runs on each worker: ``config`` holds ``spec`` and ``sink``, the driver's mailbox actor."""
    import traceback

    import ray
    import ray.train
    import ray.train.torch

    from xling.train.worker import WorkerSpec, describe, run

    context = ray.train.get_context()
    sink = config["sink"]
    try:
        run(
            WorkerSpec(**config["spec"]),
            rank=context.get_world_rank(),
            world_size=context.get_world_size(),
            device=ray.train.torch.get_device(),
            send=lambda message: sink.put.remote(message),
        )
    except Exception as error:  # told to the driver, which tells failures of the code from dead processes by it
        ray.get(sink.put.remote({"event": "error", "traceback": traceback.format_exc(), **describe(error)}))
        raise
