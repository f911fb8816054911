"""What runs inside the processes of functions: programs, started by their paths, that import nothing of this package.

:mod:`.supervisor` starts a runtime and ends it with everything it started; ``python_runtime.py`` and
``node_runtime.mjs`` call the code of a function. They speak with :mod:`workers.functions.executors.runtime_process`.
"""
