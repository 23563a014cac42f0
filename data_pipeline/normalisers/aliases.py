"""Other names for well-known things: cities by nickname or airport, kinds of food and film, currencies, shares.

Small on purpose: what everybody knows. For words outside of it a gate asks that they be said as they are.
"""

_CITIES = """
new york: nyc, ny, big apple, manhattan, jfk, lga, ewr, 纽约
los angeles: la, l.a., lax, 洛杉矶
san francisco: sf, sfo, s.f., san fran, frisco, bay area, 旧金山, 三藩
san diego: sd, san
las vegas: vegas, sin city, las, lv
washington: dc, d.c., washington dc, iad, dca
philadelphia: philly, phl
chicago: chi-town, chitown, windy city, ord, mdw, 芝加哥
atlanta: atl
boston: bos, beantown
seattle: sea, emerald city, 西雅图
new orleans: nola, msy
portland: pdx
phoenix: phx
dallas: dfw
houston: iah, hou
denver: den, mile high
miami: mia
san jose: sjc
anaheim: disneyland
mexico city: cdmx, ciudad de mexico, mex, df
toronto: yyz, the six
vancouver: yvr
london: lhr, lgw, big smoke, 伦敦
paris: cdg, ory, city of light, 巴黎
kuala lumpur: kl, kul, 吉隆坡
hong kong: hk, hkg, 香港
singapore: sin, 新加坡
tokyo: hnd, nrt, 东京
sydney: syd, 悉尼
delhi: new delhi, del, ndls
mumbai: bombay, bom
berlin: ber, 柏林
frankfurt: fra, 法兰克福
rome: fco, 罗马
barcelona: bcn
madrid: mad
amsterdam: ams
dubai: dxb, 迪拜
beijing: pek, pkx, peking, 北京, 帝都, 首都, 京
shanghai: pvg, sha, 上海, 魔都, 沪
guangzhou: can, canton, 广州, 羊城
shenzhen: szx, 深圳, 鹏城
chengdu: ctu, tfu, 成都, 蓉城
hangzhou: hgh, 杭州
xi'an: xian, xiy, 西安
chongqing: ckg, 重庆, 山城
"""
_KINDS = """
thriller: suspense
comedy: comic, funny, laugh, humor
romance: romantic, love story, love
biographical: biography, biopic, life history, non-fiction, true story
mystery: detective, whodunit
science fiction: sci-fi, scifi, space
documentary: non-fiction
animation: cartoon, animated, anime
american: diner, burger
italian: pasta, pizza, trattoria
japanese: ramen, sushi, udon
chinese: noodle, dim sum, taiwanese, szechuan, cantonese
mexican: taco, burrito
indian: curry, tandoori
asian: oriental
french: parisian, bistro
seafood: fish, oyster, shrimp
vegetarian: veggie, vegan, meatless
coffeehouse: cafe, coffee
brunch: light meal, breakfast, snack
barbecue: bbq, comfort food, soul food, grill
steakhouse: steak, burger
compact: small
standard: medium, mid-size, intermediate
full-size: large, big
sports: game, match, baseball, basketball, football, soccer
music: concert, song, band, gig
inexpensive: cheap, affordable, budget
expensive: fancy, pricey, upscale, extravagant
免费: 不收门票, 没有门票, 不要钱, 不花钱, 不用门票
"""
_CODES = """
usd: dollar, $, 美元, 美金
eur: euro, €, 欧元
gbp: pound, sterling, £, 英镑
jpy: yen, 日元, 日币
cny: yuan, rmb, renminbi, 人民币, 元
inr: rupee, ₹, 卢比
krw: won, 韩元
cad: canadian dollar, 加元, 加拿大元
aud: australian dollar, 澳元
chf: franc, 瑞士法郎
hkd: hong kong dollar, 港币, 港元
aapl: apple, 苹果
googl: google, alphabet, 谷歌
msft: microsoft, 微软
amzn: amazon, 亚马逊
tsla: tesla, 特斯拉
nvda: nvidia, 英伟达
"""


def _read(table: str) -> dict[str, tuple[str, ...]]:
    rows = (line.partition(": ") for line in table.strip().splitlines())
    return {name: tuple(others.split(", ")) for name, _, others in rows}


_ALIASES = _read(_CITIES) | _read(_KINDS) | _read(_CODES)
_NAMES: dict[str, list[str]] = {}
for _name, _others in _ALIASES.items():
    for _other in _others:
        _NAMES.setdefault(_other, []).append(_name)


def other_names(text: str) -> tuple[str, ...]:
    """Other names for what `text`, folded to lower case, stands for; empty where none is known."""
    known = [text, text.partition(",")[0]]
    for name in known[:]:
        known += _NAMES.get(name, ())
    return tuple(dict.fromkeys(other for name in known for other in (name, *_ALIASES.get(name, ())) if other != text))
