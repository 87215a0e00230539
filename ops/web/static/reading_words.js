// Reading words: what the task list and the reports say, in two languages.

import { language, name } from "./words.js";

const EN = {
  tasks: "Tasks", reports: "Reports", status: "Status", every_status: "Every status", id_begins: "Id begins with", created_from: "Created after", created_until: "Created before", find: "Find", more: "More", no_tasks: "No tasks.",
  publish_at: at => `to be published ${at}`, created: at => `created ${at}`, whose: "Creator", whose_mcn: "MCN",
  funnel: "How far orders come", endings: "How orders ended", money: "Money booked", forecast: h => `Falls due within ${h} h`, months: "Received, by month of Asia/Shanghai", hours: "Deadlines, by hour",
  of_placed: s => `${s} of all`, took: s => `half within ${s}`, at_stake: (held, worth) => `${held} held, ${worth} at stake`, overdue: n => `${n} overdue`, busy: "Another report is being made …", making: "Adding up …", as_of: at => `as of ${at}`,
  by: "Broken down by", by_none: "nothing", orders: "orders", total: "worth", rows_left: n => `and ${n} more: earnest reports --csv has all`,
  placed: "Placed", offered: "Offered", accepted: "Accepted", funded: "Funded", published: "Published", completed: "Completed",
  received_fen: "Received", held_fen: "Held now", suspense_fen: "In suspense", refund_requested_fen: "Refunds requested", refund_confirmed_fen: "Refunds confirmed", forfeited_fen: "Forfeited", released_fen: "Forfeits released", fees_fen: "Fees", income_fen: "Kept by the platform", payable_fen: "Due to creators' side", paid_out_fen: "Paid out",
  client: "Client", creator: "Creator", mcn: "MCN", task_type: "Type of task", month: "Month", none: "none",
};

const ZH = {
  tasks: "任务", reports: "报表", status: "状态", every_status: "全部状态", id_begins: "编号前缀", created_from: "创建晚于", created_until: "创建早于", find: "查询", more: "更多", no_tasks: "没有任务。",
  publish_at: at => `预计发布 ${at}`, created: at => `创建于 ${at}`, whose: "达人", whose_mcn: "MCN",
  funnel: "订单走到哪一步", endings: "订单如何结束", money: "资金合计", forecast: h => `${h} 小时内到期`, months: "按月收款（上海时区）", hours: "按小时到期",
  of_placed: s => `占全部 ${s}`, took: s => `半数 ${s} 内`, at_stake: (held, worth) => `托管 ${held}，涉及 ${worth}`, overdue: n => `${n} 个已逾期`, busy: "正在生成另一份报表…", making: "统计中…", as_of: at => `截至 ${at}`,
  by: "细分", by_none: "不细分", orders: "单", total: "金额", rows_left: n => `另有 ${n} 行：earnest reports --csv 可导出全部`,
  placed: "下单", offered: "推送", accepted: "接单", funded: "付清", published: "发布", completed: "完成",
  received_fen: "已收款", held_fen: "托管中", suspense_fen: "待查", refund_requested_fen: "应退款", refund_confirmed_fen: "已退款", forfeited_fen: "没收定金", released_fen: "没收款已分配", fees_fen: "服务费", income_fen: "平台留存", payable_fen: "应付达人一方", paid_out_fen: "已付款",
  client: "客户", creator: "达人", mcn: "MCN", task_type: "任务类型", month: "月份", none: "无",
};

const STATUSES = {
  pending_payment: ["pending payment", "待付款"], pending_acceptance: ["pending acceptance", "待接收"], in_progress: ["in progress", "进行中"],
  pending_review: ["pending review", "待评价"], finished: ["finished", "已完成"], cancelled: ["cancelled", "已取消"],
};

export const STATUS_NAMES = Object.keys(STATUSES);

export function r(key, ...values) {
  const found = (language === "zh" ? ZH : EN)[key];
  return typeof found === "function" ? found(...values) : found ?? name(key);
}

export function status(key) { return STATUSES[key]?.[language === "zh" ? 1 : 0] ?? name(key); }

export function share(part) { return part === null ? "—" : `${(100 * part).toFixed(1)} %`; }
