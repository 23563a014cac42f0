"""Chinese requests for imported tools, as an engineer or a customer types them: templates of `sentences.py`."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence

from data_pipeline.catalogue import Param
from data_pipeline.importers.arithmetic import Operation
from data_pipeline.importers.purposes import DONE_TO, Purpose
from data_pipeline.slots import Value

_SAID: Mapping[str, tuple[str, ...]] = {
    "查询": ("查一下", "查下", "看一下", "看看", "查询"),
    "获取": ("查一下", "拿一下", "看一下", "获取", "取一下"),
    "查看": ("看一下", "看看", "查看"),
    "显示": ("看一下", "显示", "调出"),
    "读取": ("读一下", "读取", "看一下"),
    "列出": ("列一下", "列出", "查一下都有哪些", "看看有哪些"),
    "搜索": ("搜一下", "搜搜", "找一下", "搜索"),
    "查找": ("找一下", "找找", "查找", "搜一下"),
    "检查": ("检查一下", "检查", "看看"),
    "创建": ("新建", "建一个", "创建", "创建一个", "建个"),
    "添加": ("加一个", "添加", "新增"),
    "生成": ("生成", "生成一下", "做一份"),
    "构建": ("构建", "构建一下", "搭一个"),
    "写入": ("写入", "写一下"),
    "上传": ("上传", "传一下", "上传一下"),
    "发布": ("发布", "发一条"),
    "更新": ("更新", "更新一下", "改一下"),
    "修改": ("修改", "改一下", "修改一下"),
    "编辑": ("编辑", "改一下"),
    "设置": ("设置", "设置一下", "设一下"),
    "计算": ("算一下", "算算", "计算"),
    "估算": ("估算一下", "估一下"),
    "统计": ("统计一下", "数一下", "统计"),
    "转换": ("转换一下", "转一下", "转换"),
    "翻译": ("翻译一下", "翻译"),
    "分析": ("分析一下", "分析", "看看"),
    "比较": ("对比一下", "比较一下", "比一比"),
    "总结": ("总结一下", "概括一下"),
    "运行": ("跑一下", "运行", "运行一下"),
    "执行": ("执行一下", "执行", "跑一下"),
    "测试": ("测一下", "测试一下"),
    "发送": ("发一下", "发送"),
    "打开": ("打开", "打开一下"),
    "访问": ("打开", "访问"),
    "启动": ("启动", "启动一下"),
    "停止": ("停止", "停一下"),
    "下载": ("下载", "下载一下"),
    "跟踪": ("跟踪一下", "查一下"),
    "推荐": ("推荐一下", "推荐"),
}
"""What a user says for the verb of a tool."""
_AWAY: Mapping[str, tuple[str, ...]] = {
    "删除": ("删掉", "删了", "删除"),
    "移除": ("移掉", "去掉", "移除"),
    "取消": ("取消掉", "取消"),
    "清除": ("清掉", "清空"),
    "停止": ("停掉", "停了"),
    "关闭": ("关掉", "关了"),
    "更新": ("更新一下",),
    "修改": ("改一下",),
    "编辑": ("改一下",),
    "启动": ("启动起来",),
    "重启": ("重启一下",),
    "归档": ("归档",),
    "下载": ("下载下来",),
    "导出": ("导出来",),
    "锁定": ("锁上",),
    "移动": ("移一下",),
}
"""What is done to a thing that stands before the verb: 把…删掉."""
_WITH_A_BIT = ("compute", "analyze", "control", "convert", "update")
_WORKS_ON_CODE = ("control", "compute", "analyze", "convert")
_FOLDERS = ("目录", "文件夹")
_OPENERS = ("打开", "访问", "抓取", "下载", "读取", "查看", "获取", "查询", "爬取")


def lines(purpose: Purpose, params: Sequence[Param], own: str) -> Iterator[str]:
    """Imperatives; `own` is the parameter that identifies the very thing the tool is about, or empty."""
    parts = {str(p.spec["part"]): f"{{{p.key}}}" for p in params if "part" in p.spec}
    same = next(
        (p.key for p in params if parts.get("in") == f"{{{p.key}}}" and p.noun_zh.startswith(purpose.thing_zh)), ""
    )
    if purpose.thing_zh and same and not own:  # the app that is opened is not where something is opened
        own = same
        del parts["in"]
    which = f"[ {{{own}}}]" if own else ""
    if purpose.operation is not None:
        yield from _sums(purpose.operation, params)
    elif purpose.whole_zh:
        yield f"{purpose.heads_zh[0]}{which}{{...}}"
    elif purpose.server_only and purpose.thing_zh.isascii() and purpose.act == "search" and "query" in parts:
        yield from _on_the_server(purpose.thing_zh, parts["query"])
    else:
        yield from _on_things(purpose, parts, which)
        yield from _set_to(purpose, params)


def _on_the_server(server: str, query: str) -> Iterator[str]:
    """A tool that searches all its server has: the server is where, not what."""
    yield f"在 {server} 上搜一下{query}{{...}}"
    yield f"去 {server} 搜搜{query}{{...}}"
    yield f"在 {server} 上找找跟{query}有关的内容{{...}}"


def _on_things(purpose: Purpose, parts: Mapping[str, str], which: str) -> Iterator[str]:
    about = _about(parts, purpose.act)
    inside = f"[ {parts['in']} 里的]" if "in" in parts else ""
    place = f"[在 {parts['in']} 里]" if "in" in parts and not about else ""
    verb = purpose.verb_zh
    if verb in DONE_TO:
        yield f"{_spaced('给', inside + purpose.thing_zh)}{which}{verb}{{...}}"
        yield f"{_spaced('帮忙给', inside + purpose.thing_zh)}{which}办一下{verb}{{...}}"
        return
    said = _SAID.get(verb, (verb, f"{verb}一下") if purpose.act in _WITH_A_BIT and len(verb) == 2 else (verb,))
    if "code" in parts and purpose.act in _WORKS_ON_CODE:
        for words in said:  # what is run is the command itself
            yield f"{place}{words}[ {parts['code']}|{_spaced('', purpose.thing_zh)}]{{...}}"
        return
    for words in said:
        yield f"{place}{_spaced(words + about, purpose.thing_zh)}{which}{{...}}"
    for away in _AWAY.get(verb, ()):
        yield f"{_spaced('把', inside + purpose.thing_zh)}{which}{away}{{...}}"
    yield from _direct(purpose, parts, said)


def _set_to(purpose: Purpose, params: Sequence[Param]) -> Iterator[str]:
    """A setting and what it becomes: 把市场类型设成 spot."""
    param = next(
        (p for p in params if p.noun_zh == purpose.thing_zh and p.kind in ("enum", "pool", "int", "num")), None
    )
    if param is not None and purpose.act == "update":
        yield f"{_spaced('把', purpose.thing_zh)}设成 {{{param.key}}}{{...}}"
        yield f"{_spaced('把', purpose.thing_zh)}改成 {{{param.key}}}{{...}}"


def _about(parts: Mapping[str, str], act: str) -> str:
    """What stands before the thing: 北京的, 跟气候变化有关的."""
    options = []
    if "place" in parts:
        options.append(f"{parts['place']}的")
    if "symbol" in parts:
        options.append(f" {parts['symbol']} 的")
    if "person" in parts and act == "get":
        options.append(f"{parts['person']}的")
    if "query" in parts and act in ("get", "search"):
        options += [f"跟{parts['query']}有关的", f"关于{parts['query']}的"]
    if "in" in parts and act in ("get", "search"):
        options.append(f" {parts['in']} 里的")
    return f"[{'|'.join(options)}]" if options and act != "create" else ""


def _spaced(words: str, after: str) -> str:
    """`words` and what follows, with a space before a Latin word."""
    return words + (" " if after and after[0].isascii() else "") + after


def _direct(purpose: Purpose, parts: Mapping[str, str], said: Sequence[str]) -> Iterator[str]:
    """Sentences in which what is worked on is the object itself: 跑一下 `npm test`, 打开 https://…."""
    thing = purpose.thing_zh
    if "text" in parts and purpose.act in ("convert", "analyze", "compute"):
        yield f"{said[0]}这段话{{...}}：{parts['text']}"
        yield f"把这段话{purpose.verb_zh}一下{{...}}：{parts['text']}"
    if "url" in parts and purpose.act == "get":
        yield _spaced("抓一下 " + parts["url"] + " 的", thing) + "{...}"
        yield _spaced("看一下 " + parts["url"] + " 的", thing) + "{...}"
    elif "url" in parts and purpose.verb_zh in _OPENERS:
        yield f"{purpose.verb_zh} {parts['url']}{{...}}"
        yield f"把 {parts['url']} {purpose.verb_zh}一下{{...}}"
    if "in" in parts and thing in _FOLDERS and purpose.act in ("get", "search"):
        yield f"看看 {parts['in']} 下面有哪些文件{{...}}"
        yield f"列一下 {parts['in']} 里的文件{{...}}"
    if "path" in parts and purpose.act in ("get", "analyze"):
        yield f"看一下 {parts['path']}{{...}}" if purpose.act == "get" else f"分析一下 {parts['path']}{{...}}"
    if "person" in parts and purpose.act == "send":
        yield _spaced("给" + parts["person"] + "发", thing) + "{...}"
    if "title" in parts and purpose.act == "create":
        yield _spaced("建一个叫" + parts["title"] + "的", thing) + "{...}"
        yield f"{_spaced('新建', thing)}，名字就叫{parts['title']}{{...}}"


def _sums(operation: Operation, params: Sequence[Param]) -> Iterator[str]:
    told = operation.zh.format(*(f"{{{p.key}}}" for p in params))
    asked = [""] if "多少" in told else ["是多少", "等于多少"]
    yield f"算一下 {told}"
    yield f"算算 {told}"
    yield from (f"!{told}{ending}？" for ending in asked)
    yield f"{operation.goal_zh}{{...}}"


def rest(before: str, left: Sequence[tuple[Param, Value]], rng: random.Random) -> str:
    """`before` and the values that it does not say: 标题写…，标签用…."""
    airy = rng.random() < 0.7
    clauses: list[str] = []
    pairs: list[tuple[Param, Value]] = []
    for param, value in left:
        phrases = [words for words in param.phrases_zh if param.noun_zh not in words]
        if any(clause.startswith("：") for clause in clauses):  # one text may stand after a colon, no more
            phrases = [words for words in phrases if not words.startswith("：")]
        if phrases:
            clauses.append(rng.choice(phrases).format(value.text))
        else:
            pairs.append((param, value))
    clauses.sort(key=lambda clause: (clause.startswith("："), clause.startswith(_ENDS)))
    closing = [clause for clause in clauses if clause.startswith("：")]
    text = "，".join([before, *(clause for clause in clauses if not clause.startswith("："))])
    if pairs:
        text += _told(pairs, airy, rng)
    return text + "，".join(closing)


_ENDS = ("到", "截至", "直到")
"""First words of phrases that say an end, which comes after the beginning."""


def _told(pairs: Sequence[tuple[Param, Value]], airy: bool, rng: random.Random) -> str:
    style = rng.choices(("verb", "plain", "bracket"), (50, 32, 18))[0]
    if style == "bracket" and all(p.kind not in ("object", "objects", "bool") for p, _ in pairs):
        return f"（{'，'.join(f'{p.noun_zh}：{v.text}' for p, v in pairs)}）"
    pairs = sorted(pairs, key=lambda pair: pair[0].kind in ("object", "objects"))
    told = [_pair(p, v, "verb" if style == "bracket" else style, airy, rng) for p, v in pairs]
    return f"，{'，'.join(told)}"


_VERBS: Mapping[str, tuple[str, ...]] = {
    "quoted": ("写", "就写", "是", "："),
    "enum": ("选", "用", "要"),
    "int": ("设成", "是", "填"),
    "num": ("设成", "是", "取"),
    "count": ("设成", "是", "填"),
    "strs": ("有", "包括", "："),
    "ints": ("有", "是", "："),
    "nums": ("有", "是", "："),
}
"""Between what a parameter is called and its value, by kind."""


def _pair(param: Param, value: Value, style: str, airy: bool, rng: random.Random) -> str:
    latin = bool(re.match(r"[A-Za-z0-9/`#.<@+-]", value.text))
    if style == "plain" and (latin or value.text[:1] in "“「《") and param.kind not in ("object", "objects"):
        return f"{param.noun_zh}{' ' if latin else ''}{value.text}"
    if param.kind in ("object", "objects"):
        return f"{param.noun_zh}（{value.text}）" if rng.random() < 0.6 else f"{param.noun_zh}：{value.text}"
    verbs = _VERBS.get(param.kind, ("是", "用") if param.kind == "pool" else ("是",))
    verb = rng.choice([v for v in verbs if v[-1] not in param.noun_zh] or list(verbs))
    left = " " if airy and param.noun_zh[-1:].isascii() and verb[0] != "：" else ""
    right = " " if airy and latin and verb[-1] != "：" else ""
    return f"{param.noun_zh}{left}{verb}{right}{value.text}"
