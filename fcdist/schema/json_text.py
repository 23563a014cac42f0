"""JSON text as shards and calls hold it. `json.dumps` with such options builds an encoder a value; here is one for all.

Values are trees (decoded JSON, or built from it), so the encoders do not look for circles.
"""

import json

json_text = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
"""A value as JSON text, its keys in their own order, letters of any script as they are."""

canonical_json = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True).encode
"""The same with sorted keys: equal values give equal texts."""
