"""Pictures wait in a queue that has an end, and as many are looked at at once as there are threads."""

import threading
import time

import pytest

from skinai.service.jobs import JobQueue, QueueFullError

PATIENCE_S = 120


@pytest.fixture
def queue():
    queue = JobQueue(workers=2, capacity=4)
    yield queue
    queue.close()


@pytest.fixture
def busy(queue):
    """A queue whose threads are all held until the event that it comes with is set."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def hold():
        begun.release()
        go_on.wait(PATIENCE_S)
        return "held"

    held = queue.put([hold, hold])
    for _ in held:
        assert begun.acquire(timeout=PATIENCE_S)
    yield queue, go_on
    go_on.set()
    assert [job.future.result(PATIENCE_S) for job in held] == ["held", "held"]


def test_every_free_thread_takes_one_that_waits(queue):
    together = threading.Barrier(2)
    jobs = queue.put([lambda: together.wait(PATIENCE_S)] * 2)
    assert sorted(job.future.result(PATIENCE_S) for job in jobs) == [0, 1]


def test_who_came_first_is_served_first():
    queue, served = JobQueue(workers=1, capacity=100), []
    queue.put([lambda number=number: served.append(number) for number in range(50)])
    queue.put([lambda: served.append("last")])
    queue.close()
    assert served == [*range(50), "last"]


def test_jobs_of_a_request_are_taken_together_or_not_at_all(busy):
    queue, go_on = busy
    queue.put([lambda: 1] * 3)
    with pytest.raises(QueueFullError, match="free in 1 s") as caught:
        queue.put([lambda: 2] * 2)
    assert caught.value.retry_after_s == 1
    assert queue.waiting == 3
    last = queue.put([lambda: 3])
    go_on.set()
    assert last[0].future.result(PATIENCE_S) == 3


def test_who_is_turned_away_is_told_how_long_jobs_take(busy):
    queue, _ = busy
    queue.put([lambda: 1] * 4)
    queue._mean_s = 3.0
    with pytest.raises(QueueFullError) as caught:
        queue.put([lambda: 2] * 3)
    assert caught.value.retry_after_s == 5  # three places, 3 s each, from two threads


def test_jobs_nobody_waits_for_any_more_free_their_places(busy):
    queue, go_on = busy
    done = []
    jobs = queue.put([lambda: done.append(1)] * 4)
    queue.withdraw(jobs[:3])
    assert queue.waiting == 1
    assert [job.future.cancelled() for job in jobs] == [True, True, True, False]
    go_on.set()
    jobs[3].future.result(PATIENCE_S)
    queue.withdraw(jobs)  # what is done stays done
    assert done == [1]


def test_an_error_belongs_to_its_job_and_ends_no_thread(queue):
    jobs = queue.put([lambda: 1 / 0] * 4)
    for job in jobs:
        with pytest.raises(ZeroDivisionError):
            job.future.result(PATIENCE_S)
    assert queue.is_alive
    assert queue.put([lambda: "on"])[0].future.result(PATIENCE_S) == "on"


def test_closing_does_what_waits_and_then_ends_the_threads():
    noted = []
    queue = JobQueue(workers=2, capacity=9, on_done=lambda waited, took: noted.append((waited, took)))
    jobs = queue.put([lambda: time.sleep(0.01)] * 9)
    queue.close()
    assert all(job.future.done() for job in jobs)
    assert len(noted) == 9
    assert all(waited >= 0 and took >= 0.01 for waited, took in noted)
    assert not queue.is_alive
