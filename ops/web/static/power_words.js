// Power words: what the forms of operators' powers say, in two languages.

import { language, name } from "./words.js";

const EN = {
  powers: "What an operator may do", in_stead: "In the client's or the creator's stead", in_stead_hint: "Asked in the stead of whoever may ask it: the same states, clock and amounts.",
  trail: "What operators did", preview: "Try it out", reason_hint: "Why? It is kept in the trail.", would_apply: "It would be done:", would_refuse: "It would be refused",
  no_outcome: "No outcome yet; it is settled once, whenever workers run.", one_a_line: "One a line", one_more: "One more",
};

const ZH = {
  powers: "操作员可以做什么", in_stead: "代客户或达人操作", in_stead_hint: "代有权的一方操作：状态、时限与金额规则不变。",
  trail: "操作员记录", preview: "试算", reason_hint: "为什么？会记入操作记录。", would_apply: "将会执行：", would_refuse: "将被拒绝",
  no_outcome: "尚无结果；工作进程运行后会处理一次。", one_a_line: "每行一个", one_more: "再加一项",
};

const LABELS = {
  en: { until: "Until", outcome: "Outcome", creator_bps: "To the creator's side", parts: "Parts", to: "To", amount_fen: "Amount", revised_amount_fen: "New quote", accept_forfeit: "Give the deposit up", accept_cost_fen: "At this cost", reason: "Their reason", note: "Note", links: "Links", comment: "Comment", url: "Link", published_at: "Published at", rating: "Stars", provider_id: "Service provider (empty: dismiss)", payment_id: "Payment", order_id: "Order", target_order_id: "To this order", side: "In whose stead", expected_publish_at: "To be published", status: "Status", due_at: "Until", held_fen: "Held", payout_id: "Payout", held: "On hold" },
  zh: { until: "截止", outcome: "裁决", creator_bps: "达人一方所得", parts: "分配", to: "归属", amount_fen: "金额", revised_amount_fen: "新报价", accept_forfeit: "同意没收定金", accept_cost_fen: "同意费用", reason: "对方原因", note: "备注", links: "链接", comment: "意见", url: "链接", published_at: "发布时间", rating: "星级", provider_id: "服务商（留空为解除）", payment_id: "收款", order_id: "订单", target_order_id: "转入订单", side: "代表哪一方", expected_publish_at: "预计发布", status: "状态", due_at: "截止", held_fen: "已托管", payout_id: "付款", held: "暂缓", approve: "视为通过", cancel: "取消", extend: "延期", platform: "平台", creator: "达人", client: "客户", refund: "退款", order: "转入订单" },
};

export function p(key, ...values) {
  const found = (language === "zh" ? ZH : EN)[key];
  return typeof found === "function" ? found(...values) : found ?? key;
}

export function label(key) { return LABELS[language === "zh" ? "zh" : "en"][key] ?? name(key); }
