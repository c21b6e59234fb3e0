"""What anybody can cause is said once a minute at most."""

from node.publisher.seldom import EVERY_S, MAX_KEYS, Seldom


class Watch:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_key_is_let_through_again_after_a_minute_and_others_do_not_wait_for_it():
    watch = Watch()
    seldom = Seldom(watch)
    assert [seldom.due(key) for key in (b"a", b"a", b"b", b"a")] == [True, False, True, False]
    watch.now = EVERY_S
    assert [seldom.due(b"a"), seldom.due(b"a")] == [True, False]


def test_more_keys_than_are_remembered_are_not_said_until_there_is_room():
    watch = Watch()
    seldom = Seldom(watch)
    assert all(seldom.due(number.to_bytes(4)) for number in range(MAX_KEYS))
    assert not seldom.due(b"more")
    watch.now = EVERY_S
    assert seldom.due(b"more")
