"""The benchmark: pyinit beside tini, tini-static, dumb-init and catatonit, in one run.

`python -m bench` shows figures, the spread of each and whether the targets of the design are met; it never
fails because of one. hyperfine and pyperf time one program after the other and from outside of its namespace, so what
takes the times here is cell.c, which starts the inits by turns.
"""
