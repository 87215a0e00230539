// Words: everything the page says, in two languages; the names that the pipeline gives are beside.

import { NAMES, WAITING_FOR } from "./names.js";

const EN = {
  health_good: "All is well", health_warn: "Behind", health_bad: "Needs a person", health_lost: "No connection",
  search: "Order, client or creator", language: "中文", token: "Token", token_set: "Operator",
  waiting: "Waiting", in_flight: "In flight", oldest: "Oldest command", settled_rate: "Settled per second",
  due_hour: "Due within the hour", overdue: "Overdue", none: "none", seconds: "s",
  of_inbox: n => `${n} accepted by HTTP`, total_settled: n => `${n} in all`, nothing_waits: "nothing waits",
  worst: s => `the worst by ${s}`, armed: n => `${n} armed`, chart: "Commands settled per second", minutes_ago: n => `${n} min ago`, now: "now",
  deadlines: "Next deadlines", no_deadlines: "No deadline in the next hour.", orders: "Orders", money: "Money", audit: "Books",
  audit_ok: n => `right, ${n} orders audited`, audit_bad: n => `${n} findings`, audit_none: "not audited yet", ago: s => `${s} ago`,
  processes: "Processes", redis: "Redis", workers: "Workers", relay: "Relay", scheduler: "Scheduler", up: "up", away: "away", alive: n => `${n} alive`,
  outbox: "Events to publish", lateness: "Deadlines enforced", lateness_is: (a, b) => `half within ${a}, 99 % within ${b}`, settle_is: (a, b) => `half within ${a}, 99 % within ${b}`,
  times: "Speed and reminders", settle: "Time to outcome", reminders: "Reminders sent", refunds: "Refunds waiting", asides: "Set aside", dead_letters: "Dead letters", quarantine: "Quarantine",
  no_asides: "Nothing was set aside.", replay: "Replay", drop: "Drop", died: "died", received: "received",
  found: "Found", latest: "Latest orders", not_found: "Nothing of that name.", back: "Overview", client: "Client", creator: "Creator", mcn: "MCN", operator: "Operator", payments: "Payments", platform: "Platform", clock: "Time",
  provider: "Service provider", silence: "Silence", acts_for: s => `acts for the ${s}'s side`, payee: s => `gets ${s}`, banned: "Banned", for_good: "for good",
  next: "What happens next", next_nothing: "Nothing more happens by itself.", waits_for: w => `It waits for ${w}`, until: "until", then_becomes: s => `then it becomes ${s}`,
  or: " or ", in: s => `in ${s}`, late_by: s => `${s} ago`, grace: g => `plus ${g} for notices under way`, held_back: "Held back: older commands are heard first.", reminder_at: "next reminder",
  timeline: "What happened", by_command: "asked", by_deadline: s => `time ended “${s}”`, by_reminder: "a reminder was due", before_deadline: s => `${s} before the deadline`, refused: "Refused",
  total: "Total", amount: "Quote", original: "First quote", deposit: "Deposit", held: "Held", balance_due: "Due now", refund: "Refund", payout: "Payout", payout_held: "held",
  clock_stopped: "its clock is stopped", stopped_by: w => `stopped by ${w}`, ban: "a ban of the creator", left: s => `${s} left`, runs_on: s => `runs on ${s} at the latest`, due_then: s => `then due ${s}`, no_time_ends: "no time ends that", told_at: "an operator is told",
  day_count: (how, at) => `counted in ${how}; elapsed time alone: ${at}`, costs: s => `costs ${s}`, gives_back: s => `${s} back`, forfeits: s => `forfeits ${s}`, left_n: n => `${n} left`, by_standing: (what, of) => `${what} ${of}`,
  payouts: "Payouts waiting", stalled: "Commands held up", clocks_stopped: "Clocks stopped", arbitrations_overdue: "Disputes past their window", creators_banned: "Creators banned",
  may: "Who may ask what now", nobody: "Nobody may ask anything any more.", clocks: "Clocks", policy: "Policy in force for this order", watermark: "All received before is settled", door_clock: "The door's clock", since: "since",
  reason: "Reason", reason_hint: "Why? It is kept in the log.", token_hint: "Operator token", token_why: "Acting needs the operator's token. On this machine it is in var/operator-token.", token_read: "Reading here needs a token of an operator, the platform or an observer.",
  publish_at: "To be published", proposed: s => `Proposed by the ${s}`, open_until: "open until",
  limit_state: "it is", limit_allowed: "possible now:", limit_ended_at: "time was up", limit_min_fen: "at least", limit_max_fen: "at most", limit_not_before: "not before", limit_limit: "limit",
  limit_cost_fen: "it costs", limit_min: "from", limit_max: "to", limit_total_fen: "in all", limit_amount_fen: "the quote is", limit_nothing: "nothing",
  cancel: "Cancel", do_it: "Do it", save: "Save", forget: "Forget it", done: "Done.", sent: "Sent; it is settled in a moment.", failed: "It failed: ", gone: "No connection; these numbers are old.",
};

const ZH = {
  health_good: "一切正常", health_warn: "有积压", health_bad: "需要处理", health_lost: "连接中断",
  search: "订单、客户或达人", language: "English", token: "令牌", token_set: "操作员",
  waiting: "等待中", in_flight: "处理中", oldest: "最久未处理", settled_rate: "每秒处理",
  due_hour: "一小时内到期", overdue: "已逾期", none: "无", seconds: "秒",
  of_inbox: n => `${n} 条来自 HTTP`, total_settled: n => `累计 ${n}`, nothing_waits: "没有等待",
  worst: s => `最久 ${s}`, armed: n => `共 ${n} 个计时`, chart: "每秒处理的指令", minutes_ago: n => `${n} 分钟前`, now: "现在",
  deadlines: "即将到期", no_deadlines: "一小时内没有到期。", orders: "订单", money: "资金", audit: "账目",
  audit_ok: n => `正确，已核对 ${n} 单`, audit_bad: n => `${n} 处不符`, audit_none: "尚未核对", ago: s => `${s}前`,
  processes: "进程", redis: "Redis", workers: "工作进程", relay: "转发", scheduler: "调度", up: "正常", away: "离线", alive: n => `${n} 个在线`,
  outbox: "待发布事件", lateness: "到期执行延迟", lateness_is: (a, b) => `半数 ${a} 内，99% ${b} 内`, settle_is: (a, b) => `半数 ${a} 内，99% ${b} 内`,
  times: "速度与提醒", settle: "指令出结果", reminders: "已发提醒", refunds: "待确认退款", asides: "搁置", dead_letters: "死信", quarantine: "隔离",
  no_asides: "没有搁置的内容。", replay: "重放", drop: "丢弃", died: "失败于", received: "收到于",
  found: "查到", latest: "最新订单", not_found: "没有找到。", back: "总览", client: "客户", creator: "达人", mcn: "MCN", operator: "操作员", payments: "支付", platform: "平台", clock: "时间",
  provider: "服务商", silence: "默认", acts_for: s => `代表${s}方`, payee: s => `分得 ${s}`, banned: "封禁", for_good: "永久",
  next: "接下来", next_nothing: "不会再自动发生什么。", waits_for: w => `正在等待${w}`, until: "截止", then_becomes: s => `之后变为「${s}」`,
  or: "或", in: s => `还有 ${s}`, late_by: s => `${s}前`, grace: g => `另留 ${g} 等候在途通知`, held_back: "暂缓：先处理更早收到的指令。", reminder_at: "下次提醒",
  timeline: "经过", by_command: "指令", by_deadline: s => `「${s}」到期`, by_reminder: "到提醒时间", before_deadline: s => `距截止 ${s}`, refused: "已拒绝",
  total: "总额", amount: "报价", original: "原报价", deposit: "定金", held: "已托管", balance_due: "待付", refund: "退款", payout: "付款", payout_held: "已暂缓",
  clock_stopped: "计时已暂停", stopped_by: w => `由${w}暂停`, ban: "达人封禁", left: s => `剩余 ${s}`, runs_on: s => `最迟 ${s} 恢复`, due_then: s => `届时截止 ${s}`, no_time_ends: "不会自动到期", told_at: "通知操作员",
  day_count: (how, at) => `按${how}计；自然时间为 ${at}`, costs: s => `费用 ${s}`, gives_back: s => `退回 ${s}`, forfeits: s => `没收 ${s}`, left_n: n => `剩余 ${n} 次`, by_standing: (what, of) => `${what} ${of}`,
  payouts: "待确认付款", stalled: "受阻的命令", clocks_stopped: "计时已暂停", arbitrations_overdue: "逾期未裁决", creators_banned: "封禁中的达人",
  may: "现在谁可以做什么", nobody: "已无人可再操作。", clocks: "时钟", policy: "此单适用的规则", watermark: "此前收到的均已处理", door_clock: "系统时钟", since: "自",
  reason: "原因", reason_hint: "为什么？会记入日志。", token_hint: "操作员令牌", token_why: "操作需要操作员令牌。本机令牌在 var/operator-token。", token_read: "查看需要操作员、平台或观察员的令牌。",
  publish_at: "预计发布", proposed: s => `${s}提议改期`, open_until: "有效至",
  limit_state: "当前", limit_allowed: "现在可以：", limit_ended_at: "已于此时到期", limit_min_fen: "不少于", limit_max_fen: "不多于", limit_not_before: "不早于", limit_limit: "上限",
  limit_cost_fen: "费用", limit_min: "自", limit_max: "至", limit_total_fen: "合计", limit_amount_fen: "当前报价", limit_nothing: "无",
  cancel: "取消", do_it: "确定", save: "保存", forget: "忘记令牌", done: "已完成。", sent: "已提交，稍后出结果。", failed: "失败：", gone: "连接中断，数字已旧。",
};

export let language = localStorage.getItem("earnest.language") || (navigator.language.startsWith("zh") ? "zh" : "en");
document.documentElement.lang = language;

export function toggle() {
  localStorage.setItem("earnest.language", language === "zh" ? "en" : "zh");
  location.reload();
}

export function t(key, ...values) {
  const text = (language === "zh" ? ZH : EN)[key];
  return typeof text === "function" ? text(...values) : text ?? key;
}

export function name(key) {
  if (key === null || key === undefined) return "";
  return NAMES[language][key] ?? String(key).replaceAll("_", " ");
}

// What would not have been refused, in the words of whoever was.
export function limits(bounds) {
  return Object.entries(bounds).map(([key, value]) => `${t(`limit_${key}`)} ${bound(key, value)}`).join(" · ");
}

function bound(key, value) {
  if (Array.isArray(value)) return value.map(name).join(", ") || t("limit_nothing");
  return key.endsWith("_fen") ? yuan(value) : typeof value === "number" ? count(value) : key === "state" ? name(value) : clock(value);
}

export function waiting(state) { return WAITING_FOR[language][state] ?? name(state); }

export function yuan(fen) {
  const shown = (Math.abs(fen) / 100).toLocaleString(language === "zh" ? "zh-CN" : "en-US", { minimumFractionDigits: 2 });
  return `${fen < 0 ? "−" : ""}¥${shown}`;
}

export function count(n) { return Number(n).toLocaleString(language === "zh" ? "zh-CN" : "en-US"); }

export function span(seconds) {
  const s = Math.abs(seconds), zh = language === "zh";
  const unit = (n, en, cn) => `${n}${zh ? "\u2009" + cn : "\u2009" + en}`;
  if (s < 1) return unit(Math.round(s * 1000), "ms", "毫秒");
  if (s < 60) return unit(s < 10 ? s.toFixed(1) : Math.round(s), "s", "秒");
  if (s < 3600) return unit(Math.floor(s / 60), "min", "分") + (s < 600 ? " " + unit(Math.floor(s % 60), "s", "秒") : "");
  if (s < 86400) return unit(Math.floor(s / 3600), "h", "小时") + " " + unit(Math.floor(s % 3600 / 60), "min", "分");
  return unit(Math.floor(s / 86400), "d", "天") + " " + unit(Math.floor(s % 86400 / 3600), "h", "小时");
}

export function clock(iso) {
  if (!iso) return "";
  const at = new Date(iso), today = new Date();
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  if (at.toDateString() !== today.toDateString()) Object.assign(options, { month: "short", day: "numeric" });
  if (at.getFullYear() !== today.getFullYear()) options.year = "numeric";
  return at.toLocaleString(language === "zh" ? "zh-CN" : "en-GB", options);
}
