"""Ray Train's way in. It imports nothing at its top: Train's controller loads it too, and needs no torch."""

from __future__ import annotations

from typing import Any

POLL_S = 0.1


def worker_loop(config: dict[str, Any]) -> None:
    """What Ray Train runs on each worker: one spec after another from the driver's mailbox, until there are no more."""
    import gc
    import os
    import time
    import traceback

    import ray
    import ray.train
    import ray.train.torch

    from xling.train.worker import WorkerSpec, describe, run

    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    mailbox = config["mailbox"]
    node = ray.get_runtime_context().get_node_id()
    ray.get(mailbox.put.remote({"event": "hello", "rank": rank, "pid": os.getpid(), "node": node}))
    number = 0
    while True:
        there, spec = ray.get(mailbox.work.remote(number))
        if not there:
            time.sleep(POLL_S)
            continue
        if spec is None:
            return
        try:
            finished = run(
                WorkerSpec(**spec),
                rank=rank,
                world_size=world_size,
                device=ray.train.torch.get_device(),
                send=lambda message: mailbox.put.remote(message),
            )
        except Exception as error:  # told to the driver, which tells failures of the code from dead processes by it
            ray.get(mailbox.put.remote({"event": "error", "traceback": traceback.format_exc(), **describe(error)}))
            raise
        gc.collect()  # the last cell's weights go before the next one's come
        ray.get(mailbox.put.remote({"event": "ended", "rank": rank, "finished": finished}))
        number += 1
