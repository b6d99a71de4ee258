"""Who may call: the keys of callers, how they are made, kept and recognised."""
