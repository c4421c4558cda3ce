import io
import pickle

import numpy as np
import pytest

from supcrd.data.sources.unpickle import restricted_load
from supcrd.errors import DataError

# How Python 2 and NumPy 1 wrote {'data': uint8 array [[1, 2], [3, 4]], 'labels': [7]}, spelt out opcode by opcode.
PYTHON_2 = (
    b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87R"
    b"(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"\x89U\x04\x01\x02\x03\x04tbU\x06labels](K\x07eu."
)


def test_a_pickle_of_python_2_is_read() -> None:
    content = restricted_load(io.BytesIO(PYTHON_2), where="x")
    assert content.keys() == {b"data", b"labels"}
    np.testing.assert_array_equal(content[b"data"], np.array([[1, 2], [3, 4]], np.uint8))
    assert content[b"labels"] == [7]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_scalars_and_containers_are_read(protocol: int) -> None:
    value = {b"a": [np.arange(6).reshape(2, 3), np.float64(0.5), (None, True, 1.5, "x")]}
    content = restricted_load(io.BytesIO(pickle.dumps(value, protocol=protocol)), where="x")
    np.testing.assert_equal(content, value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (pickle.dumps(eval), "builtins.eval"),
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        (b"cnumpy\nfromfile\n(S'x'\ntR.", "numpy.fromfile"),
        (b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR.", "'hex'"),
        (b"c_codecs\ndecode\n.", "_codecs.decode"),
    ],
)
def test_anything_else_is_refused_by_name(content: bytes, named: str) -> None:
    with pytest.raises(DataError, match="refused") as error:
        restricted_load(io.BytesIO(content), where="place")
    assert named in str(error.value)
    assert str(error.value).startswith("place: ")
