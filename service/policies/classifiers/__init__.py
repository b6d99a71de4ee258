"""Tags requests by what they ask: intent, difficulty, expert."""
