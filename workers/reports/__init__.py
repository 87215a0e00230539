"""Reports: what became of many orders, added up by the database, so that memory stays flat.

Every report gives its rows in the order of what it is broken down by, with the same answer from
both databases. Amounts are fen; a month is one of Asia/Shanghai.
"""
