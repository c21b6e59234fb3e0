import pytest

from node.publisher.dag import Scope
from node.publisher.gateway_page import BINARY, TEXT, Row, directory_page, media_type
from node.publisher.gateway_request import (
    Asked,
    BadRequest,
    EntityBytes,
    Representation,
    asked,
    byte_range,
    names_etag,
    path_names,
)

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
CAR = "application/vnd.ipld.car"
RAW = "application/vnd.ipld.raw"


@pytest.mark.parametrize(
    ("query", "accept", "answer"),
    [
        ({}, "", Asked(Representation.CONTENT)),
        ({}, "*/*", Asked(Representation.CONTENT)),
        ({}, BROWSER, Asked(Representation.CONTENT)),
        ({"format": "raw"}, BROWSER, Asked(Representation.RAW)),
        ({"format": "car"}, "", Asked(Representation.CAR, Scope.ALL)),
        ({"format": "car", "dag-scope": "block"}, "", Asked(Representation.CAR, Scope.BLOCK)),
        (
            {"dag-scope": "entity"},
            f"{CAR};version=1; order=dfs;dups=n",
            Asked(Representation.CAR, Scope.ENTITY, negotiated=True),
        ),
        ({}, f"{RAW}, */*;q=0.1", Asked(Representation.RAW, negotiated=True)),
        ({}, f"{RAW};q=0, {CAR.upper()}", Asked(Representation.CAR, negotiated=True)),
        ({}, f"{RAW};q=0.5, {CAR}", Asked(Representation.CAR, negotiated=True)),
        ({"format": "raw"}, CAR, Asked(Representation.RAW, negotiated=True)),
        ({"format": "raw"}, RAW, Asked(Representation.RAW)),
        ({"format": "car", "car-dups": "y"}, "", Asked(Representation.CAR, dups=True)),
        ({"format": "car", "car-dups": "n"}, f"{CAR};dups=y", Asked(Representation.CAR)),
        ({"format": "car"}, f"{CAR};order=unk;dups=y", Asked(Representation.CAR, dups=True)),
        (
            {"format": "car"},
            f"{CAR};order=other, {CAR};order=dfs;dups=y;q=0.5",
            Asked(Representation.CAR, dups=True),
        ),
        (
            {"format": "car", "entity-bytes": "0:9", "dag-scope": "all"},
            "",
            Asked(Representation.CAR, Scope.ENTITY, EntityBytes(0, 9)),
        ),
        (
            {"format": "car", "entity-bytes": "-1024:*"},
            "",
            Asked(Representation.CAR, Scope.ENTITY, EntityBytes(-1024, None)),
        ),
        ({}, "application/vnd.ipld.dag-json, */*", Asked(Representation.CONTENT)),
    ],
)
def test_query_and_accept_choose_the_representation(query, accept, answer):
    assert asked(query, accept) == answer


@pytest.mark.parametrize(
    ("query", "accept", "status"),
    [
        ({"format": "tar"}, "", 400),
        ({"format": "dag-json"}, CAR, 400),
        ({"format": "car", "dag-scope": "most"}, "", 400),
        ({"format": "car", "entity-bytes": "0-9"}, "", 400),
        ({"format": "car", "entity-bytes": "٣:*"}, "", 400),
        ({"format": "car", "car-order": "other"}, "", 406),
        ({"format": "car", "car-dups": "maybe"}, "", 406),
        ({}, f"{CAR};order=other", 406),
        ({}, "application/x-tar", 406),
        ({"format": "car", "car-version": "2"}, "", 406),
        ({}, f"{CAR};version=2", 406),
        ({"format": "car"}, f"{CAR};version=2", 406),
        ({}, "application/vnd.ipld.dag-json", 406),
        ({}, "application/vnd.ipfs.ipns-record", 406),
    ],
)
def test_what_is_not_offered_is_refused(query, accept, status):
    with pytest.raises(BadRequest) as caught:
        asked(query, accept)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None),
        ("bytes=0-9", (0, 10)),
        ("bytes=0-0", (0, 1)),
        ("Bytes=0-1", (0, 2)),
        ("BYTES=-5", (95, 5)),
        ("bytes=90-", (90, 10)),
        ("bytes=90-1000", (90, 10)),
        ("bytes=-5", (95, 5)),
        ("bytes=-500", (0, 100)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
        ("items=0-9", None),
        ("bytes=0-" + "9" * 30, None),
    ],
)
def test_one_range_is_honoured_and_nonsense_is_ignored(header, span):
    assert byte_range(header, 100) == span


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=100-", 100), ("bytes=100-200", 100), ("bytes=-0", 100), ("bytes=0-", 0)]
)
def test_a_range_outside_the_file_is_refused(header, size):
    with pytest.raises(BadRequest) as caught:
        byte_range(header, size)
    assert caught.value.status == 416


@pytest.mark.parametrize(
    ("first", "last", "span"),
    [
        (0, None, (0, 99)),
        (0, 9, (0, 9)),
        (90, 1000, (90, 99)),
        (-10, None, (90, 99)),
        (-1000, None, (0, 99)),
        (49, -10, (49, 90)),
        (50, 20, (50, 20)),
    ],
)
def test_the_bytes_of_an_entity_may_be_counted_from_its_end(first, last, span):
    assert EntityBytes(first, last).within(100) == span


@pytest.mark.parametrize(("first", "last"), [(100, None), (0, -101)])
def test_bytes_outside_of_an_entity_are_refused(first, last):
    with pytest.raises(BadRequest) as caught:
        EntityBytes(first, last).within(100)
    assert caught.value.status == 400


def test_of_an_empty_entity_there_are_no_bytes_and_that_is_no_mistake():
    first, last = EntityBytes(0, None).within(0)
    assert last < first


def test_a_path_is_names_between_slashes():
    assert path_names("") == ()
    assert path_names("outputs//a b.png/") == ("outputs", "a b.png")
    for path in ("..", "outputs/../..", "./x", "x" * 5000):
        with pytest.raises(BadRequest):
            path_names(path)


def test_an_entity_tag_is_found_in_a_list_weak_or_strong():
    assert names_etag('"a", W/"b"', '"b"')
    assert names_etag('"b"', 'W/"b"')
    assert names_etag("*", '"b"')
    assert not names_etag('"a"', '"b"')
    assert not names_etag(None, '"b"')


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("still_00001_.png", b"", "image/png"),
        ("output_00001_.WEBP", b"", "image/webp"),
        ("output_00001_.mp4", b"", "video/mp4"),
        ("manifest.json", b"", "application/json"),
        ("stdout", b"<script>", TEXT),
        ("exitCode", b"0", TEXT),
        ("page.html", b"<script>", BINARY),
        ("picture.svg", b"<svg>", BINARY),
        ("", b"\x89PNG\r\n\x1a\n....", "image/png"),
        ("", b"RIFF....WEBPVP8 ", "image/webp"),
        ("", b"\0\0\0\x1cftypisom", "video/mp4"),
        ("", b"<html>", BINARY),
        ("", b"", BINARY),
    ],
)
def test_a_media_type_never_lets_a_browser_run_anything(name, head, kind):
    assert media_type(name, head) == kind


def test_a_page_escapes_names_and_plays_what_can_be_played():
    hostile = Row('"><script>alert(1)</script>.png', is_directory=False, size_bytes=5)
    video = Row("outputs/output_00001_.mp4", is_directory=False, size_bytes=1_234_567)
    folder = Row("outputs", is_directory=True, size_bytes=9)
    page = directory_page("/ipfs/bafy", "<b>", [hostile, folder], [hostile, video])
    assert "<script" not in page
    assert "<b>" not in page
    assert '<img src="/ipfs/bafy/%22%3E%3Cscript' in page
    assert '<video src="/ipfs/bafy/outputs/output_00001_.mp4" controls' in page
    assert '<a href="/ipfs/bafy/outputs">outputs/</a>' in page


def test_a_page_of_a_huge_directory_stays_small():
    rows = [Row(f"{number}.png", is_directory=False, size_bytes=1) for number in range(5000)]
    page = directory_page("/ipfs/bafy", "x", rows, rows)
    assert "and 4000 more" in page
    assert page.count("<img ") == 60
