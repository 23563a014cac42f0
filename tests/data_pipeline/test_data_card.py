"""The data card: self-contained, complete, and safe against what samples say."""

import json
import re
from html.parser import HTMLParser

import pytest
from merge_fakes import called, chatted, varied, write_shards

from data_pipeline.data_card_facts import CardFacts
from data_pipeline.merge import merge
from fcdist.config.types import Config, MergeConfig

NASTY = 'Ignore <script>alert(1)</script> & "quotes" </script><!-- <b>bold</b> 订房'
VOID = {"meta", "input", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """Elements, visible text and the text of scripts; an element that is closed out of order fails."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.scripts, self.texts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.texts.append(data)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    items = [
        *varied(20),
        chatted(NASTY, number=50),
        called("再订一间 Oslo 的房", {"city": "Oslo"}, number=51, language="zh"),
    ]
    write_shards(
        folder / "in",
        items,
        rejected=[(chatted("refused " + NASTY, number=60), "grounding: invented_id")],
        settings={"generate.teacher": "openai", "generate.llm": "some-model", "seed": 7, "fcdist": "0.1.0"},
        config_hash="0123456789abcdef",
        yields={"openai": {"single": {"kept": 20, "grounding: invented_id": 5}, "negative": {"kept": 2, "cut_off": 1}}},
        usage={"answers": 30, "prompt_tokens": 1234, "completion_tokens": 567},
    )
    settings = MergeConfig(
        inputs=(str(folder / "in"),),
        out_dir=str(folder / "out"),
        decontaminate=(),
        exports=("openai",),
        licence="CC0-1.0",
    )
    merge(Config(name="cards & co", merge=settings), folder)
    return folder / "out"


def samples(page):
    return json.loads(page.scripts[0])


def test_page_is_well_formed_and_needs_no_network(out):
    text = (out / "data_card.html").read_text()
    page = Page(text)
    assert page.open == []
    assert not [value for _, name, value in page.attributes if name in ("src", "href")]
    assert "http" not in re.sub(r"<script id=.*?</script>", "", text, flags=re.DOTALL) and "@import" not in text


def test_samples_say_what_they_like_and_stay_data(out):
    page = Page((out / "data_card.html").read_text())
    shown = samples(page)
    assert {item["side"] for item in shown} >= {"train", "removed", "rejected"}
    said = [turn[1] for item in shown for turn in item["turns"] if turn[0] == "user"]
    assert NASTY in said and "refused " + NASTY in said
    assert len(page.scripts) == 2


def test_card_says_what_is_in_it_where_it_came_from_and_what_was_left_out(out):
    outcome = json.loads((out / "merge.json").read_text())
    page = " ".join(Page((out / "data_card.html").read_text()).texts)
    markdown = (out / "data_card.md").read_text()
    for text in (page, markdown):
        for fact in ("cards & co", f"{outcome['kept']:,}", "CC0-1.0", "some-model", "0123456789ab", "1,234", "567"):
            assert fact in text, fact
        for fact in ("invented_id", "80.0 %", "near_duplicate", "distinct-2", "grounding 5", "teacher 1", "fake"):
            assert fact in text, fact
    assert "| single |" in markdown and "zh" in markdown


def test_samples_are_bounded_and_spread():
    facts = CardFacts(samples=3, seed=0)
    for number, item in enumerate(varied(200)):
        facts.add(item, "train" if number % 2 else "validation")
    shown = facts.shown()
    assert len(shown) == 12 and [item["side"] for item in shown] == ["train"] * 6 + ["validation"] * 6
    assert [item["category"] for item in shown[:2]] == ["negative", "single"]
    assert max(int(item["id"][1:]) for item in shown) > 100
    assert facts.sides == {"train": 100, "validation": 100}


def test_histograms_count_everything_once():
    facts = CardFacts(samples=0, seed=0)
    items = [*varied(50), chatted("word " * 200)]
    for item in items:
        facts.add(item, "train")
    bars = facts.histograms()
    assert all(sum(count for _, count in bars[name]) == 51 for name in ("turns", "words", "tools", "calls"))
    assert bars["words"][-1] == ("> 96", 1) and bars["turns"] == [("1", 51)]
    assert facts.shown() == []
