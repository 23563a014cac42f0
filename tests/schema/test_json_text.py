"""The encoders that are made once write what `json.dumps` writes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from fcdist.schema.json_text import canonical_json, json_text

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES)
def test_text_is_that_of_json_dumps(value):
    assert json_text(value) == json.dumps(value, ensure_ascii=False)
    assert canonical_json(value) == json.dumps(value, ensure_ascii=False, sort_keys=True)
