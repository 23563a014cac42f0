"""Reads numbers, clock times and dates out of English and Chinese. Used by gates; knows nothing of the generator."""

from data_pipeline.normalisers.clock import times
from data_pipeline.normalisers.days import dates
from data_pipeline.normalisers.numerals import chinese_number, numbers

__all__ = ["chinese_number", "dates", "numbers", "times"]
