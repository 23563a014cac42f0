"""The page stands alone, shows what was measured, and says what is missing."""

import html.parser
import itertools
import json
import math

import pytest
from rich.console import Console

from fcdist.config.run_folder import write_config
from fcdist.config.types import Config
from fcdist.errors import EvaluationError
from fcdist.evaluation.charts import bar_chart, line_chart, ticks
from fcdist.evaluation.report import render_page, summary_table, write_report
from fcdist.evaluation.statistics import wilson
from fcdist.evaluation.summary import comparisons, lines, retention
from fcdist.report import main


def count(right, of):
    return {"right": right, "of": of}


def row(right, call=8):
    items = [{"id": str(i), "set": "suite" if i < 10 else "simple_python", "right": i < right} for i in range(20)]
    return {
        "suite": {
            "items": 10,
            "measures": {
                "structure": count(right, 20),
                "trigger_call": count(call, 10),
                "trigger_no_call": count(3, 4),
            },
            "by_category": {"single": count(right // 2, 10)},
        },
        "bfcl": {"simple_python": {**count(right, 20), "schema_valid": count(right, 20)}},
        "items": items,
    }


@pytest.fixture
def results():
    rows = {"base": row(2), "base_grammar": row(7), "tuned": row(12), "tuned_grammar": row(15)}
    rows["base"]["retention"] = {"loss": 2.0, "num_targets": 100}
    rows["tuned"]["retention"] = {"loss": 2.08, "num_targets": 100}
    return {"model": "tiny", "protocol": "text", "created": "today", "settings": {"max_new_tokens": 8}, "rows": rows}


class Collector(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.links, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    collector = Collector()
    collector.feed(page)
    assert collector.open == []
    return collector


METRICS = [
    {"step": s, "loss": 2 / s, "loss/call": 1 / s, "lr": 1e-4, "grad_norm": 1.0, "tokens_per_s": 50}
    for s in range(1, 9)
]


def test_page_is_well_formed_and_needs_nothing_from_outside(results):
    answers = {"tuned": [{"id": "1", "set": "suite", "right": True, "prompt": "p", "text": "</script><b>&"}]}
    page = render_page(results, METRICS, {"mix": {"general": 4}}, answers)
    found = read(page)
    assert found.links == [] and "http" not in page and "url(" not in page
    data = page.split("id='answers'>")[1].split("</script>")[0]
    assert json.loads(data)["items"][0]["answers"]["tuned"]["text"] == "</script><b>&"


def test_page_shows_counts_intervals_and_change(results):
    text = " ".join(read(render_page(results, METRICS, None, {})).text)
    low, high = wilson(12, 20).low, wilson(12, 20).high
    assert f"12/20 · {100 * low:.0f}–{100 * high:.0f} %" in text
    assert "+4.00%" in text and "within 5%" in text


def test_markup_in_results_is_text(results):
    results["model"] = "<img src=x>"
    assert "<img" not in render_page(results, [], None, {})


def test_missing_parts_are_said_not_invented():
    text = " ".join(read(render_page({"rows": {"base": {"suite": {}}}}, [], None, {})).text)
    for words in ("Not measured in this run", "BFCL was not run", "has not been trained", "no answers to read",
                  "loss on general chat was not measured", "store.json"):  # fmt: skip
        assert words in text


def test_balanced_accuracy_and_counts_of_each_line(results):
    by_name = {line.name: line for line in lines(results)}
    balanced = by_name["trigger, balanced (call, no call)"].cells["tuned"]
    assert balanced.rate.value == pytest.approx((0.8 + 0.75) / 2)
    assert balanced.counts == "8/10, 3/4"
    assert by_name["simple_python"].cells["base"].rate.value == pytest.approx(0.1)


def test_comparisons_cover_all_items_and_each_set(results):
    found = {(c.first, c.second, c.set): c.test for c in comparisons(results)}
    assert found["base", "tuned", ""].gained == 10
    assert found["base", "tuned", "suite"].gained == 8 and found["base", "tuned", "simple_python"].gained == 2
    assert found["base", "tuned", ""].p_value == pytest.approx(2 / 2**10)


def test_retention_change_is_relative(results):
    assert retention(results) == (2.0, 2.08, pytest.approx(0.04))
    del results["rows"]["tuned"]["retention"]
    assert retention(results) == (2.0, None, None)


def test_terminal_table_has_a_column_for_each_measured_row(results):
    del results["rows"]["base_grammar"]
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(summary_table(results))
    text = console.export_text()
    assert "60 % (12/20)" in text and "tuned + grammar" in text and "base + grammar" not in text
    assert "+4.0%" in text


def test_entry_writes_the_page_beside_the_results(results, tmp_path, capfd):
    config = Config(run_dir=str(tmp_path))
    write_config(config, tmp_path)
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "results.json").write_text(json.dumps(results))
    (tmp_path / "log").mkdir()
    half = json.dumps(METRICS[0]) + "\n" + json.dumps(METRICS[1]) + '\n{"step": 3, "lo'
    (tmp_path / "log" / "metrics.jsonl").write_text(half)
    assert main([str(tmp_path)]) == 0
    page = (tmp_path / "evaluation" / "report.html").read_text()
    assert "polyline" in page
    assert write_report(tmp_path / "evaluation" / "results.json").read_text() == page


@pytest.mark.parametrize("text", [None, "{", "[]", '{"rows": 3}'])
def test_unreadable_results_are_a_clear_error(text, tmp_path, capfd):
    write_config(Config(run_dir=str(tmp_path)), tmp_path)
    if text is not None:
        (tmp_path / "evaluation").mkdir()
        (tmp_path / "evaluation" / "results.json").write_text(text)
    assert main([str(tmp_path)]) == 2
    assert "results.json" in capfd.readouterr().err
    with pytest.raises(EvaluationError, match=r"results\.json"):
        write_report(tmp_path / "evaluation" / "results.json")


def test_line_chart_leaves_out_what_is_not_finite():
    svg = line_chart({"a": [(1, 1.0), (2, math.nan), (3, 2.0)]}, "t")
    assert svg.count(",") == 2 and "nan" not in svg
    assert "no finite values" in line_chart({"a": [(1, math.inf)]}, "t")
    assert "circle" in line_chart({"a": [(5, 1.0)]}, "t")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.37, 2.91), (1e-6, 3e-6), (5, 5), (0, 0), (-3, 1200)])
def test_ticks_cover_the_range_at_even_round_distances(low, high):
    marks = ticks(low, high, 4)
    assert marks[0] <= low + 1e-9 and marks[-1] >= high - 1e-9 and 2 <= len(marks) <= 12
    assert max(b - a for a, b in itertools.pairwise(marks)) == pytest.approx(marks[1] - marks[0])


def test_bars_are_as_long_as_the_share():
    svg = bar_chart({"x": {"a": wilson(1, 4), "b": wilson(2, 4)}}, ["a", "b"], "t")
    widths = [float(part.split('"')[0]) for part in svg.split('width="')[1:] if 'class="bar' in part]
    assert widths[1] == pytest.approx(2 * widths[0])
