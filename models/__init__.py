"""Models: the rules of fixed-price orders with an earnest-money deposit, pure of I/O and of clocks.

Read in this order: lifecycle, policy, calendar, commands, events, orders/order, orders/decide,
orders/decision, orders/evolve, the handlers in orders/ (offers, payments, fulfilment, endings,
disputes, timeouts, operator_actions), creators, ledger, obligations, service/handlers, audit.
Imports go one way: service and audit, orders, obligations, creators and ledger, events, calendar,
commands and policy, fields, then money, lifecycle, reasons, errors, ids and tracked_dict.
"""
