import pytest

from node.publisher.car import CarReader, car_header, write_car
from node.publisher.cid import DAG_PB, RAW, hash_block, parse_cid, parse_inline_cid
from node.publisher.errors import BadContent

ROOT = hash_block(DAG_PB, b"root")
BLOCKS = [(ROOT, b"root"), (hash_block(RAW, b""), b""), (hash_block(RAW, b"x" * 300), b"x" * 300)]
CAR = b"".join(write_car(ROOT, BLOCKS))


def read(pieces, root=ROOT, max_block_bytes=1000):
    reader = CarReader(root, max_block_bytes=max_block_bytes)
    sections = [section for piece in pieces for section in reader.feed(piece)]
    reader.finish()
    return sections


def test_the_header_is_the_one_of_the_specification():
    root = parse_cid(
        "bafyreihyrpefhacm6kkp4ql6j6udakdit7g3dmkzfriqfykhjw6cad5lrm".replace("bafyrei", "bafkrei")
    )
    # The example of the CARv1 specification, with codec raw (0x55) in place of dag-cbor.
    assert car_header(root) == bytes.fromhex(
        "3aa265726f6f747381d82a58250001551220f88bc853804cf294fe417e4fa83028689fcdb1b1592c5102e1474dbc200fab8b"
        "6776657273696f6e01"
    )


@pytest.mark.parametrize(
    ("cid", "byte_string"),
    [("bafkqaaa", "45 0001550000"), ("bafkqai" + "a" * 52, "5825 0001550020" + "00" * 32)],
)
def test_the_length_of_the_root_is_written_in_the_shortest_form_that_dag_cbor_demands(cid, byte_string):
    assert car_header(parse_inline_cid(cid))[1:] == bytes.fromhex(
        "a265726f6f747381d82a" + byte_string + "6776657273696f6e01"
    )


@pytest.mark.parametrize("step", [1, 2, 7, 64, len(CAR)])
def test_a_car_is_read_whatever_the_pieces(step):
    assert read(CAR[start : start + step] for start in range(0, len(CAR), step)) == BLOCKS


def test_a_cut_car_is_refused_or_lacks_whole_blocks():
    ends = {len(b"".join(write_car(ROOT, BLOCKS[:count]))): count for count in range(len(BLOCKS))}
    for length in range(len(CAR)):
        if length in ends:
            assert read([CAR[:length]]) == BLOCKS[: ends[length]]
        else:
            with pytest.raises(BadContent, match="cut off"):
                read([CAR[:length]])


def test_another_root_is_refused():
    with pytest.raises(BadContent, match="one root"):
        read([CAR], root=BLOCKS[1][0])


def test_a_large_section_is_refused_before_it_arrives():
    with pytest.raises(BadContent, match="336 bytes: the limit is 263"):
        read([CAR[:-290]], max_block_bytes=263)


def test_a_section_without_a_cid_is_refused():
    with pytest.raises(BadContent, match="without a usable CID"):
        read([car_header(ROOT) + b"\x05hello"])


def test_an_endless_length_is_refused():
    with pytest.raises(BadContent, match="64 bits"):
        read([car_header(ROOT) + b"\xff" * 10])
