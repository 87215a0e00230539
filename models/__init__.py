"""Models: the rules of fixed-price orders with an earnest-money deposit, pure of I/O and of clocks.

Read in this order: money, policy, command, lifecycle, order, clocks, events, evolve, decide, court,
judges, quotes, fulfilment, settlement, disputes, powers, creator, penalties, heed, payments, book,
hear, ledger, public.
"""
