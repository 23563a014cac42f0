"""Style and script of the report page, kept in Python so that the report needs no package data and no network."""

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1d2430;--soft:#5c6675;--line:#dfe3ea;--card:#f6f7f9;--track:#eceff3;
--c0:#9aa5b5;--c1:#5b7fb4;--c2:#e0a13c;--c3:#2f9e6e;--c4:#b3568c;--c5:#7a5cc0;--good:#1d7f55;--bad:#b93a3a}
@media(prefers-color-scheme:dark){:root{--bg:#14171c;--fg:#e6e9ee;--soft:#9aa3b0;--line:#2c323c;--card:#1c2027;
--track:#262c35;--c0:#7d8797;--c1:#6f97d1;--good:#4cc38a;--bad:#ef7b7b}}
*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:68rem;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans CJK SC",sans-serif}
h1{font-size:1.5rem;margin:.4rem 0}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1rem 0 .3rem}p{margin:.4rem 0}.soft,.missing,small{color:var(--soft)}
.missing{font-style:italic}.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;white-space:nowrap}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--bg);white-space:normal;
min-width:7.5rem}thead th{color:var(--soft);font-weight:600}td small{display:block;font-size:.78em}
tr.group td{font-weight:600;padding-top:.9rem}td.sub{padding-left:1.6rem;color:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:1rem}
.card{background:var(--card);border-radius:8px;padding:.7rem .9rem}.big{font-size:1.5rem;font-weight:650}
.good{color:var(--good)}.bad{color:var(--bad)}.wide{max-width:34rem}
svg{width:100%;height:auto;display:block;font-size:11px}svg text{fill:var(--soft)}svg .label{fill:var(--fg);
font-size:12px}svg .end{text-anchor:end}svg .mid{text-anchor:middle}svg .grid{stroke:var(--line)}
svg .line{fill:none;stroke-width:1.8;stroke-linejoin:round}svg .track{fill:var(--track)}
svg .whisker{stroke:var(--fg);fill:none;opacity:.75}.legend{display:flex;flex-wrap:wrap;gap:.2rem .9rem;
font-size:.85em;color:var(--soft)}.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;
margin-right:.35em}.confusion td,.confusion th{text-align:center}
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}
.s5{stroke:var(--c5)}.bar.s0,.dot.s0{fill:var(--c0);stroke:none}.bar.s1,.dot.s1{fill:var(--c1);stroke:none}
.bar.s2,.dot.s2{fill:var(--c2);stroke:none}.bar.s3,.dot.s3{fill:var(--c3);stroke:none}.bar.s4,.dot.s4{fill:var(--c4);
stroke:none}.bar.s5,.dot.s5{fill:var(--c5);stroke:none}.key.s0{background:var(--c0)}.key.s1{background:var(--c1)}
.key.s2{background:var(--c2)}.key.s3{background:var(--c3)}.key.s4{background:var(--c4)}.key.s5{background:var(--c5)}
.filters{display:flex;flex-wrap:wrap;gap:.5rem;margin:.5rem 0}select,input,button{font:inherit;color:inherit;
background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.3rem .5rem;max-width:100%}
details{border:1px solid var(--line);border-radius:8px;margin:.4rem 0;padding:.4rem .7rem}summary{cursor:pointer;
overflow-wrap:anywhere}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);padding:.5rem;
border-radius:6px;font-size:.85em;max-height:22rem;overflow:auto;margin:.2rem 0 .6rem}
"""

SCRIPT = """
const data=JSON.parse(document.getElementById("answers").textContent),list=document.getElementById("list");
const pick=id=>document.getElementById(id),page=20;let shown=page;
const fill=(id,values)=>values.forEach(v=>{const o=document.createElement("option");o.value=v;o.textContent=v;
pick(id).append(o)});
fill("set",[...new Set(data.items.map(i=>i.set))]);fill("row",data.rows);
function verdict(item){const row=pick("row").value,v=pick("verdict").value;if(!v)return true;
const of=row?[row]:data.rows;const marks=of.map(r=>item.answers[r]).filter(a=>a);
if(v==="right")return marks.some(a=>a.right===true);if(v==="wrong")return marks.some(a=>a.right===false);
const base=item.answers.base_grammar||item.answers.base,tuned=item.answers.tuned||item.answers.tuned_grammar;
if(!base||!tuned)return false;return v==="gained"?!base.right&&tuned.right:base.right&&!tuned.right}
function block(parent,title,text){if(text===""||text==null)return;const h=document.createElement("small");
h.textContent=title;const p=document.createElement("pre");p.textContent=text;parent.append(h,p)}
function entry(item){const d=document.createElement("details"),s=document.createElement("summary");
const marks=data.rows.filter(r=>item.answers[r]).map(r=>r+" "+(item.answers[r].right===true?"\\u2713":
item.answers[r].right===false?"\\u2717":"\\u2013"));
s.textContent=item.set+" \\u00b7 "+item.id+"  ("+marks.join(", ")+")";
d.append(s);d.addEventListener("toggle",()=>{if(!d.open||d.dataset.full)return;d.dataset.full=1;
block(d,"prompt",item.prompt);block(d,"expected",item.expected);
for(const r of data.rows){const a=item.answers[r];if(a&&(!pick("row").value||pick("row").value===r))
block(d,r+(a.right===true?": right":a.right===false?": wrong":"")+(a.why?" ("+a.why+")":""),
a.text||"(empty)")}});return d}
function draw(){const set=pick("set").value,word=pick("word").value.toLowerCase();
const found=data.items.filter(i=>(!set||i.set===set)&&verdict(i)&&
(!word||JSON.stringify(i).toLowerCase().includes(word)));
list.replaceChildren(...found.slice(0,shown).map(entry));
pick("count").textContent=found.length+" of "+data.items.length+
" items";pick("more").hidden=found.length<=shown}
for(const id of["set","row","verdict","word"])pick(id).addEventListener("input",()=>{shown=page;draw()});
pick("more").addEventListener("click",()=>{shown+=page;draw()});draw();
"""

FILTERS = """
<div class="filters"><select id="set" aria-label="set"><option value="">all sets</option></select>
<select id="row" aria-label="row"><option value="">all rows</option></select>
<select id="verdict" aria-label="verdict"><option value="">any verdict</option><option value="right">right</option>
<option value="wrong">wrong</option><option value="gained">gained by tuning</option><option value="lost">lost by tuning
</option></select><input id="word" type="search" placeholder="contains" aria-label="contains"></div>
<p class="soft" id="count"></p><div id="list"></div><p><button id="more" type="button">show more</button></p>
"""
