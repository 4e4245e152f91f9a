"""Real processes for the tests: a PID namespace that plays the node, and programs that leave
zombies.
"""
