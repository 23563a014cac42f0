"""Other names for well-known things: cities by nickname or airport, kinds of food and film, units, currencies, shares.

Countries and languages come from `codes`.

Small on purpose: what everybody knows. For words outside of it a gate asks that they be said as they are.
"""

from data_pipeline.normalisers.codes import names_of

_CITIES = """
new york: nyc, ny, big apple, manhattan, jfk, lga, ewr, 纽约
los angeles: la, l.a., lax, 洛杉矶
san francisco: sf, sfo, s.f., san fran, frisco, bay area, 旧金山, 三藩
san diego: sd, san
las vegas: vegas, sin city, las, lv
washington: dc, d.c., washington dc, washington d.c., district of columbia, iad, dca
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
action: 动作
thriller: suspense, 惊悚
comedy: comic, funny, laugh, humor, 喜剧, 搞笑
romance: romantic, love story, love, 爱情, 浪漫
drama: 剧情
horror: 恐怖
biographical: biography, biopic, life history, non-fiction, true story
mystery: detective, whodunit, 悬疑, 推理
science fiction: sci-fi, scifi, space, 科幻
documentary: non-fiction, 纪录片
animation: cartoon, animated, anime, 动画, 动漫
jazz: 爵士
rock: 摇滚
classical: 古典
pop: 流行
american: diner, burger, 美式
italian: pasta, pizza, trattoria, 意大利, 意式
japanese: ramen, sushi, udon, 日本, 日式, 日料
chinese: noodle, dim sum, taiwanese, szechuan, cantonese, 中餐, 中国菜
mexican: taco, burrito, 墨西哥
indian: curry, tandoori, 印度
asian: oriental
french: parisian, bistro, 法国, 法式
seafood: fish, oyster, shrimp
vegetarian: veggie, vegan, meatless, 素食
coffeehouse: cafe, coffee
brunch: light meal, breakfast, snack
barbecue: bbq, comfort food, soul food, grill
steakhouse: steak, burger
compact: small
standard: medium, mid-size, intermediate
full-size: large, big
sports: game, match, baseball, basketball, football, soccer, 体育, 运动
体育: 运动
music: concert, song, band, gig, 音乐
business: 商业, 财经
technology: tech, 科技, 技术
health: 健康
entertainment: 娱乐
science: 科学
inexpensive: cheap, affordable, budget
expensive: fancy, pricey, upscale, extravagant
圆形: 圆, 圆圈
矩形: 长方形
正方形: 方形
circle: 圆
rectangle: 矩形, 长方形
square: 正方形
triangle: 三角
西红柿: 番茄
土豆: 马铃薯
自行车: 单车
聚会: 派对
电脑: 计算机
免费: 不收门票, 没有门票, 不要钱, 不花钱, 不用门票
"""
_UNITS = """
公里: 千米, km
千克: 公斤, kg
kilometers: km, kilometer, 公里, 千米
miles: mile, 英里
meters: meter, 米
kilograms: kg, kilogram, 公斤, 千克
pounds: lb, lbs, pound, 磅
celsius: 摄氏, c
fahrenheit: 华氏, f
km: kilometer, 公里, 千米
kg: kilogram, 公斤, 千克
"""
_COUNTRIES = """
united states: usa, u.s., america, american
united kingdom: uk, u.k., britain, british, england
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


_ALIASES = _read(_CITIES) | _read(_KINDS) | _read(_UNITS) | _read(_COUNTRIES) | _read(_CODES)
_NAMES: dict[str, list[str]] = {}
for _name, _others in _ALIASES.items():
    for _other in _others:
        _NAMES.setdefault(_other, []).append(_name)


def other_names(text: str) -> tuple[str, ...]:
    """Other names for what `text`, folded to lower case, stands for; empty where none is known."""
    known = [text, text.partition(",")[0], *names_of(text)]
    for name in known[:]:
        known += _NAMES.get(name, ())
    return tuple(dict.fromkeys(other for name in known for other in (name, *_ALIASES.get(name, ())) if other != text))
