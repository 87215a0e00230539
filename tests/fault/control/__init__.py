"""Control: a naive build under the same faults, which must fail."""
