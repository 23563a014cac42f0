"""Errors a user can act on. Each refines the standard-library type a caller would expect."""


class FcdistError(Exception):
    """Base of every error that names its cause and the way out; entry points print it without a traceback."""

    is_shared = False
    """Every rank of the run raises it alike, so that one of them may speak for all."""


class ConfigError(FcdistError, ValueError):
    """A setting is unknown, of the wrong type, or contradicts another. The message quotes the full key."""


class SchemaError(FcdistError, ValueError):
    """A conversation, tool or call breaks the schema. The message names the field and the rule."""


class ShardError(FcdistError, ValueError):
    """A file of records cannot be read or does not match its manifest. The message names file and line."""


class RenderError(FcdistError, ValueError):
    """A conversation cannot be written in a protocol, or a chat template cannot carry one."""


class DataError(FcdistError, ValueError):
    """The data cannot be mixed, stored or planned as configured (empty set, over-long example, stale store)."""


class ModelError(FcdistError, RuntimeError):
    """Weights, tokenizer, adapter or attention back end cannot be set up."""


class CheckpointError(FcdistError, RuntimeError):
    """A checkpoint is torn, foreign or does not fit this run."""


class TrainingError(FcdistError, RuntimeError):
    """Training cannot go on (non-finite loss, ranks that disagree). The message names step, rank and examples."""


class EvaluationError(FcdistError, RuntimeError):
    """An evaluation cannot be run or scored."""


class GenerationError(FcdistError, RuntimeError):
    """The data pipeline cannot produce what was asked for."""
