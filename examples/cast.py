"""Cast: the clients, creators and agencies of the campaign; every name in it is invented."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

# Industry, and who advertises in it what.
CLIENTS = """
    食品饮料 | 青梧岭茶事 | 明前绿茶礼盒
    食品饮料 | 禾小灶 | 免煮番茄牛腩饭
    食品饮料 | 冰崖气泡水 | 白桃乌龙气泡水
    食品饮料 | 麦垛第九炉 | 海盐可颂
    美妆个护 | 雾汀研 | 修护精华水
    美妆个护 | 栗栗唇事 | 丝绒唇泥
    美妆个护 | 一川松 | 氨基酸洗发露
    母婴亲子 | 小鹿醒醒 | 婴儿睡袋
    母婴亲子 | 团团积木屋 | 木质拼搭玩具
    家居家电 | 静默山电器 | 桌面空气循环扇
    家居家电 | 缓坡家居 | 可拆洗布艺沙发
    家居家电 | 弯月灯铺 | 护眼落地灯
    服饰鞋包 | 野渡针织 | 羊毛开衫
    服饰鞋包 | 走走鞋坊 | 轻量通勤鞋
    数码科技 | 蜂巢量子耳机 | 降噪头戴耳机
    数码科技 | 拾页电子纸 | 彩色电纸书
    文化教育 | 半亩方格 | 书法入门课
    文化教育 | 早鸟口语 | 旅行英语课
    运动户外 | 鹿野川 | 轻量双人帐篷
    本地生活 | 巷尾二十三号 | 双人火锅套餐
"""

MCNS = (
    "第七码头文化",
    "橡果盒子传媒",
    "白日焰火工坊",
    "鲸背内容社",
    "四味书屋互动",
    "风起陇上传媒",
)

PROVIDERS = ("云帆代运营", "麦田内容审校", "拾光制片服务", "青禾投放顾问")
"""Who reviews for clients, or works for creators, when asked to."""

FIRST = ("阿橘", "小满", "老周", "七月", "大熊", "林间", "豆包妈", "南风")
SECOND = (
    "在路上",
    "爱做饭",
    "说数码",
    "的一天",
    "测评室",
    "看世界",
    "穿搭记",
    "慢生活",
    "讲冷知识",
    "逛吃",
)
CREATORS = tuple(first + second for first, second in product(FIRST, SECOND))

OCCASIONS = (
    "春季上新",
    "三八节专场",
    "新品首发",
    "会员日",
    "开学季",
    "周年庆",
    "种草计划",
    "直播预热",
)

OPENINGS = {
    "douyin_video": "拍一条60秒以内的竖屏短视频，以真实生活场景自然带出{product}。",
    "douyin_live": "在直播间讲解{product}不少于15分钟，挂购物车，全程可回放。",
    "huoshan": "以同城生活的视角拍一条{product}的体验短片，时长30至45秒。",
    "xigua": "制作一条3至5分钟的横屏中视频，完整介绍{product}的使用过程。",
    "toutiao": "写一篇不少于1200字的图文测评，配9张实拍图，主题为{product}。",
}

REQUESTS = (
    "开头3秒内出现使用场景，不要出现摆拍感。",
    "口播须包含品牌名“{client}”，并在画面中停留不少于2秒。",
    "请勿与同类产品直接比较，不得使用“最”“第一”等绝对化用语。",
    "脚本请在接单后两天内提交，我们会在一个工作日内反馈。",
    "成片首发后置顶72小时，评论区第一条由达人发布购买方式。",
    "如需寄送样品请私信收货地址，样品无需寄回。",
    "请避免出现未成年人单独出镜的画面。",
    "风格参考达人过往生活类作品，语气轻松即可，字幕请用简体中文。",
    "素材授权品牌方在站内投放30天，不得剪辑后另作他用。",
    "发布时间尽量安排在晚间七点到九点之间。",
)

CLOSINGS = ("预算已批，期待合作！", "有疑问随时沟通。", "辛苦老师～", "")

SIGNED = (0, 1, 2)
"""Of every five creators, which are signed with an agency."""

SHARES = (2_000, 1_500, 3_000, 2_550, 0)
"""What an agency keeps of its creators' money, in basis points, creators taking turns."""


@dataclass(frozen=True)
class Client:
    """Who orders, in which industry, and what is to be shown."""

    client_id: str
    industry: str
    name: str
    product: str


@dataclass(frozen=True)
class CastCreator:
    """Who is asked; `mcn_id` is the agency at the beginning of the campaign, if any."""

    creator_id: str
    name: str
    mcn_id: str | None
    share_bps: int | None


def clients() -> list[Client]:
    rows = (line.split("|") for line in CLIENTS.strip().splitlines())
    return [
        Client(f"client-{number:02}", *(part.strip() for part in row))
        for number, row in enumerate(rows, start=1)
    ]


def mcns() -> list[tuple[str, str]]:
    return [(f"mcn-{number}", name) for number, name in enumerate(MCNS, start=1)]


def providers() -> list[tuple[str, str]]:
    return [(f"provider-{number}", name) for number, name in enumerate(PROVIDERS, start=1)]


def creators() -> list[CastCreator]:
    """List the creators, agencies and shares taking turns."""
    return [_creator(number, name) for number, name in enumerate(CREATORS, start=1)]


def _creator(number: int, name: str) -> CastCreator:
    creator_id = f"creator-{number:02}"
    if number % 5 not in SIGNED:
        return CastCreator(creator_id, name, None, None)
    agency = f"mcn-{1 + number % len(MCNS)}"
    return CastCreator(creator_id, name, agency, SHARES[number % len(SHARES)] or None)
