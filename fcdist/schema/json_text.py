"""JSON text as shards and calls hold it.

Values are trees (decoded JSON, or built from it), so the encoders do not look for circles.
"""

import json
import json.encoder
from collections.abc import Callable
from typing import Any


def _encoder(sort_keys: bool) -> Callable[[Any], str]:
    """`encode` of a JSONEncoder, with a C encoder that is made once, in the way `JSONEncoder.iterencode` makes one.

    That makes it anew for each value, which takes longer than most values do.
    """
    options = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=sort_keys)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # a Python without C accelerators
        return options.encode
    separators = options.key_separator, options.item_separator
    pieces = make(
        None, options.default, json.encoder.encode_basestring, options.indent, *separators, sort_keys, False, True
    )
    return lambda value: "".join(pieces(value, 0))


json_text = _encoder(sort_keys=False)
"""A value as JSON text, its keys in their own order, letters of any script as they are."""

canonical_json = _encoder(sort_keys=True)
"""The same with sorted keys: equal values give equal texts."""


def json_reader(decoder: json.JSONDecoder) -> Callable[[str], Any]:
    """`decode` of a JSONDecoder, in half the time where no blanks stand around the value."""
    scan = decoder.scan_once  # type: ignore[attr-defined]  # typeshed does not know it

    def read(text: str) -> Any:
        try:
            value, end = scan(text, 0)
        except StopIteration:  # nothing begins here
            return decoder.decode(text)
        return value if end == len(text) else decoder.decode(text)

    return read


read_json = json_reader(json.JSONDecoder())
"""The value of a JSON text. Raises ValueError where it is none."""
