"""Controls: workers with one part replaced, under which the law must not hold.

A control is a module of this folder, chosen by its name; its function `replace_part` is called in
the worker's process before anything of the worker is.
"""
