-- What bench/dataset.py fills a database with, number by number from the first to the last.
WITH RECURSIVE
n(i) AS (SELECT CAST(:first AS bigint) UNION ALL SELECT i + 1 FROM n WHERE i < :last)
INSERT INTO creators (creator_id, name, mcn_id, sequence, standing, document)
SELECT 'cr_' || i, '达人' || i,
  CASE WHEN i % 10 = 3 THEN 'mcn_large' WHEN i % 100 = 5 THEN 'mcn_small' END, 1, 'free', '{}'
FROM n;

WITH RECURSIVE
n(i) AS (SELECT CAST(:first AS bigint) UNION ALL SELECT i + 1 FROM n WHERE i < :last)
INSERT INTO creators (creator_id, name, mcn_id, sequence, standing, document)
SELECT 'past_' || i, '达人' || i, 'mcn_former', 1, 'free', '{}' FROM n;

WITH RECURSIVE
n(i) AS (SELECT CAST(:first AS bigint) UNION ALL SELECT i + 1 FROM n WHERE i < :last)
INSERT INTO clients (client_id, name, sequence) SELECT 'cl_' || i, '客户' || i, 1 FROM n;

-- Any number that is prime to the others spreads them well enough.
WITH RECURSIVE
n(i) AS (SELECT CAST(:first AS bigint) UNION ALL SELECT i + 1 FROM n WHERE i < :last),
a AS (SELECT i, (i * 48271) % 10007 AS r, (i * 69621) % 100000007 AS spread FROM n),
b AS (SELECT i, r, spread, CASE
  WHEN r < 10 THEN 'offered'
  WHEN i > :orders * 0.98 AND r < 1500 THEN 'awaiting_balance'
  WHEN i > :orders * 0.80 AND r < 4000 THEN 'in_fulfilment'
  WHEN i > :orders * 0.80 AND r < 4100 THEN 'in_arbitration'
  WHEN r < 6500 THEN 'completed' WHEN r < 8000 THEN 'cancelled' WHEN r < 9000 THEN 'expired'
  WHEN r < 9500 THEN 'declined' ELSE 'forfeited' END AS state FROM a),
c AS (SELECT i, r, state,
  CASE WHEN i % 8 = 0 THEN 'x' || spread ELSE 'ord_' || (:first_id + i) END AS order_id,
  CASE WHEN i < :orders / 10 THEN 'past_' || (spread % :former)
    WHEN i % 20 = 0 THEN 'cr_1' WHEN i % 4 = 1 THEN 'cr_' || (2 + spread % 39)
    ELSE 'cr_' || (41 + spread % :creators) END AS creator_id,
  CASE WHEN state IN ('offered', 'awaiting_balance', 'in_fulfilment')
    THEN CAST(:now AS bigint) + i * 1000 END AS due_at FROM b),
d AS (SELECT order_id, 'cl_' || (r % :clients), creator_id, '春季新品推广', 'douyin_video', '美妆',
  '15秒以上,露出产品,口播一次品牌名', state,
  CASE state WHEN 'completed' THEN 'settled' WHEN 'cancelled' THEN 'client_cancelled'
    WHEN 'expired' THEN 'not_accepted' WHEN 'declined' THEN 'creator_declined'
    WHEN 'forfeited' THEN 'balance_not_paid' WHEN 'in_arbitration' THEN 'disputed' END,
  :version, 100000, 100000, 105000, 10500, CASE WHEN due_at IS NULL THEN 0 ELSE 10500 END, 0,
  :first_at + i * :step, 4, due_at, due_at, replace(:document, 'o00000000', order_id),
  CASE WHEN state = 'offered' THEN 'pending_acceptance'
    WHEN state = 'awaiting_balance' THEN 'pending_payment'
    WHEN state IN ('in_fulfilment', 'in_arbitration') THEN 'in_progress'
    WHEN state <> 'completed' THEN 'cancelled'
    WHEN i % 50 = 7 THEN 'pending_review' ELSE 'finished' END,
  :first_at + (i + 9000) * :step,
  CASE WHEN due_at IS NULL AND state <> 'in_arbitration' THEN :first_at + (i + 1000) * :step END AS ended_at
FROM c)
INSERT INTO orders (order_id, client_id, creator_id, name, task_type, industry, brief, state,
  reason, policy_version, original_amount_fen, amount_fen, total_fen, deposit_fen, held_fen,
  balance_due_fen, placed_at, sequence, due_at, wake_at, document, public_status,
  expected_publish_at, ended_at)
SELECT * FROM d
WHERE CASE WHEN ended_at < :archived_before THEN 'at rest' ELSE 'at hand' END = 'at hand';
