"""What listeners are told: once however often it changed, the greater change for the smaller."""

import asyncio

from node.engine.news import MAX_WAITING, Change, Item, News
from node.types import JobId

J1, J2 = JobId("j1"), JobId("j2")


async def listening(news):
    """Return a listener that has begun to listen."""
    changes = news.listen()
    first = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    return changes, first


async def test_what_changed_many_times_is_told_once_in_the_order_of_the_first():
    news = News()
    changes, first = await listening(news)
    for _ in range(5):
        news.tell(Change.PROGRESS, J1)
        news.tell(Change.STATUS)
    news.tell(Change.PROGRESS, J2)
    assert await first == Item(Change.PROGRESS, J1)
    assert await anext(changes) == Item(Change.STATUS)
    assert await anext(changes) == Item(Change.PROGRESS, J2)


async def test_a_step_of_a_job_holds_its_progress_whichever_came_first():
    news = News()
    changes, first = await listening(news)
    news.tell(Change.PROGRESS, J1)
    news.tell(Change.JOB, J1)
    news.tell(Change.JOB, J2)
    news.tell(Change.PROGRESS, J2)
    assert await first == Item(Change.JOB, J1)
    assert await anext(changes) == Item(Change.JOB, J2)


async def test_one_that_does_not_listen_holds_no_more_than_a_bounded_number():
    news = News()
    changes, first = await listening(news)
    for number in range(MAX_WAITING * 3):
        news.tell(Change.JOB, JobId(f"j{number}"))
    told = [await first]
    while len(told) < MAX_WAITING:
        told.append(await anext(changes))
    news.tell(Change.STATUS)
    assert await anext(changes) == Item(Change.STATUS)


async def test_one_that_left_is_told_nothing_more():
    news = News()
    changes, first = await listening(news)
    news.tell(Change.STATUS)
    await first
    await changes.aclose()
    news.tell(Change.STATUS)
    assert not news._listeners
