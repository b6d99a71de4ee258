"""How an arm is chosen and learned: pure functions of arrays, with time and randomness as arguments."""
