"""The encoders and readers that are made once do what `json.dumps` and `json.loads` do."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcdist.schema.json_text import canonical_json, json_text, read_json

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES)
def test_text_is_that_of_json_dumps(value):
    assert json_text(value) == json.dumps(value, ensure_ascii=False)
    assert canonical_json(value) == json.dumps(value, ensure_ascii=False, sort_keys=True)


@pytest.mark.parametrize("text", ['{"a": [1, 2.5, null]}', ' {"a": 1}\n', "3", '"\\u00e9"', "NaN"])
def test_json_is_read_as_the_standard_library_reads_it(text):
    assert repr(read_json(text)) == repr(json.loads(text))


@pytest.mark.parametrize("text", ["", " ", "{", '{"a": 1} x', "{'a': 1}", '{"a" 1}', "\ufeff1"])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):
        read_json(text)
