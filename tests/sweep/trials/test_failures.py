"""What a user is told of processes that died."""

import pytest
from ray.exceptions import RayTaskError
from ray.train import ControllerError

from xling.sweep.trials.failures import told, why


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ControllerError(RuntimeError("The worker group\ncould not start in 30 s")), "The worker group"),
        (
            RuntimeError("Training failed due to worker errors:\n\nActorDiedError: it died\nmore"),
            "ActorDiedError: it died",
        ),
        (RuntimeError("Training failed:\n"), "Training failed:"),
        (RuntimeError(), "RuntimeError()"),
    ],
)
def test_the_line_that_says_why_and_not_a_heading(error, said):
    assert why(error) == said


def test_memory_that_ran_out_is_told_with_what_to_lower():
    assert "lower train.batch_size" in why(RuntimeError("x:\nray.exceptions.OutOfMemoryError: Task was killed"))


def test_an_exception_in_a_task_is_told_by_itself_and_not_by_its_traceback():
    error = RayTaskError("score", "ray::score()\n  File ...\nIndexError: no row 7", IndexError("no row 7"))
    assert told(error.as_instanceof_cause()) == told(error) == "IndexError: no row 7"
    assert told(ValueError("2 is wrong")) == "2 is wrong"
    assert told(ValueError()) == "ValueError"
