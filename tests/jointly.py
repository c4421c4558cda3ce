"""Real processes that train together, for tests: each runs a function in a gloo group of its own."""

import multiprocessing

import torch
from torch import distributed


def together(size, worker, folder, *arguments):
    """Run `worker(rank, size, folder, *arguments)` in so many processes, which have to succeed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["supcrd.training.fit", "supcrd.training.task", "torch._dynamo"])
    meeting = folder / "-".join(["meeting", str(size), *map(str, arguments)])
    processes = [
        context.Process(target=joined, args=(worker, rank, size, folder, meeting, arguments)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * size


def joined(worker, rank, size, folder, meeting, arguments):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    worker(rank, size, folder, *arguments)
    distributed.destroy_process_group()
